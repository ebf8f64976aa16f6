"""Jobs and endpoints as processes, through the image's ENTRYPOINT, over a folder like /opt/ml."""

import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

from training_container.tests.pictures import write_channel

CONTAINER = Path(__file__).parents[1]
TRAINS = ("torch", "torchvision", "ultralytics", "onnx", "mlflow")
TIMEOUT = 240  # seconds; generous, for a machine that does other things


def command(argument: str) -> list[str]:
    """The Dockerfile's ENTRYPOINT with an argument, on this interpreter."""
    entrypoint = re.search(r"^ENTRYPOINT (\[.*\])$", (CONTAINER / "Dockerfile").read_text(), re.MULTILINE)
    assert entrypoint
    program, *rest = json.loads(entrypoint[1])
    assert program == "python3"
    return [sys.executable, *rest, argument]


def environment(base: Path, **values: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("YOLO_", "OMP_", "MLFLOW_"))}
    return kept | {"SAGEMAKER_BASE_DIR": str(base), "TMPDIR": str(base.parent)} | values


def start(argument: str, base: Path, **values: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(argument),
        cwd=CONTAINER,
        env=environment(base, **values),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(argument: str, base: Path, **values: str) -> tuple[int, str]:
    process = start(argument, base, **values)
    try:
        output, _ = process.communicate(timeout=TIMEOUT)
    finally:
        process.kill()
    return process.returncode, output


def serving_image(folder: Path) -> dict[str, str]:
    """The environment of an interpreter that has no package of training, as the serving image."""
    lines = f"import sys\nsys.modules.update(dict.fromkeys({TRAINS}))\n"
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(lines)
    return {"PYTHONPATH": str(folder)}


def lay_out(base: Path, train: range = range(12), **hyperparameters: object) -> Path:
    write_channel(base / "input" / "data" / "train", train)
    write_channel(base / "input" / "data" / "validation", range(100, 104))
    values = {
        "categories": ["square"],
        "epochs": 2,
        "imgsz": 64,
        "batch": 4,
        "weights": "scratch",
        "dataset_id": "ds-1",
    }
    values |= hyperparameters
    path = base / "input" / "config" / "hyperparameters.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({k: v if isinstance(v, str) else json.dumps(v) for k, v in values.items()}))
    return base


def pack(model_dir: Path, archive: Path) -> None:
    archive.parent.mkdir(parents=True)
    with tarfile.open(archive, "w:gz") as tar:
        for path in model_dir.iterdir():
            tar.add(path, path.name)
