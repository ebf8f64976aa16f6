"""Does what hyperparameter or variable `behave` says, and leaves a report of what it was given.

ok, fail, hang (ends on SIGTERM, saving first), deaf (ignores SIGTERM, with a child process), traverse.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

BASE = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))


def given(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def report(target: Path) -> None:
    config = BASE / ("input/config" if sys.argv[1:] == ["train"] else "config")
    target.mkdir(parents=True, exist_ok=True)
    document = {
        "arguments": sys.argv[1:],
        "working_directory": os.getcwd(),
        "config": {path.stem: json.loads(path.read_text()) for path in sorted(config.glob("*.json"))},
        "input": given(BASE / "input" / "data"),
        "processing": given(BASE / "processing" / "input") if (BASE / "processing").exists() else {},
        "checkpoints": given(BASE / "checkpoints"),
        "cache": given(BASE / "sagemaker" / "warmpoolcache"),
        "environment": dict(os.environ),
    }
    (target / "report.json").write_text(json.dumps(document))


def hang() -> None:
    def save(number: int, frame: object) -> None:
        (BASE / "model").mkdir(exist_ok=True)
        (BASE / "model" / "saved.txt").write_text("saved in the grace")
        sys.exit(0)

    signal.signal(signal.SIGTERM, save)
    print("hanging", flush=True)
    while True:
        time.sleep(0.05)


def deaf() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen([sys.executable, "-c", "import time\nwhile True: time.sleep(0.05)"])
    print(f"pids {os.getpid()} {child.pid}", flush=True)
    while True:
        time.sleep(0.05)


def main() -> None:
    settings = dict(os.environ)
    hyperparameters = BASE / "input/config/hyperparameters.json"
    if hyperparameters.exists():
        settings |= json.loads(hyperparameters.read_text())
    match settings.get("behave", "ok"):
        case "fail":
            (BASE / "output").mkdir(exist_ok=True)
            if "reason" in settings:
                for name in ("failure", "message"):
                    (BASE / "output" / name).write_text(settings["reason"])
            print("about to fail", flush=True)
            sys.exit(int(settings.get("exit", "1")))
        case "hang":
            hang()
        case "deaf":
            deaf()
    for epoch in range(1, 4):
        print(f"epoch={epoch} map50={epoch / 10} box_loss={1 / epoch:.3f}", flush=True)
        (BASE / "checkpoints").mkdir(exist_ok=True)
        (BASE / "checkpoints" / "last.txt").write_text(f"epoch {epoch}")
    if sys.argv[1:] == ["train"]:
        report(BASE / "model")
        if (cache := BASE / "sagemaker" / "warmpoolcache").is_dir():
            (cache / os.environ["TRAINING_JOB_NAME"]).write_text("kept")
        (BASE / "output" / "data" / "plot.txt").write_text("a plot")
    else:
        report(BASE / "processing" / "output")
        (BASE / "output" / "message").write_text("judged")


main()
