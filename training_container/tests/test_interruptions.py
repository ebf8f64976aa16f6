"""A training that is ended from outside, and goes on."""

import re
import signal
from pathlib import Path

import pytest

from training_container.tests.jobs import TIMEOUT, lay_out, run, start

pytestmark = pytest.mark.xdist_group("container run")


def interrupt(base: Path, after: int, how: signal.Signals, **values: str) -> tuple[int, str]:
    """Start a training and send it a signal when it has done `after` epochs. Returns its exit code and output."""
    return signalled(base, f"epoch={after} ", how, **values)


def signalled(base: Path, line_begins: str, how: signal.Signals, **values: str) -> tuple[int, str]:
    """Start a training and send it a signal once it prints a line. Returns its exit code and output until then."""
    process = start("train", base, **values)
    assert process.stdout
    seen = ""
    try:
        for line in process.stdout:
            seen += line
            if line.startswith(line_begins):
                process.send_signal(how)
                return process.wait(TIMEOUT), seen
    finally:
        process.kill()
        process.communicate()
    pytest.fail(f"the training ended early:\n{seen}")


def test_an_interrupted_training_goes_on(tmp_path: Path) -> None:
    """Ended gently, then killed, then finished by a job that tries again: every epoch counted, one run, one model."""
    epochs = 14
    base = lay_out(tmp_path / "ml", epochs=epochs, val_period=epochs)
    tracking = {"MLFLOW_TRACKING_URI": f"file:{tmp_path}/mlruns"}
    code, output = interrupt(base, 2, signal.SIGTERM, **tracking)
    assert code == 143, output
    code, output = interrupt(base, 6, signal.SIGKILL, **tracking)
    assert code == -signal.SIGKILL, output
    first = re.search(r"^resumed after epoch=(\d+)$", output, re.MULTILINE)
    assert first
    assert 2 <= int(first[1]) < 6
    assert not (base / "output" / "failure").exists()
    assert not (base / "model").exists()
    code, output = run("train", base, TRAINING_JOB_NAME="job-9-2", **tracking)
    assert code == 0, output
    second = re.search(r"^resumed after epoch=(\d+)$", output, re.MULTILINE)
    assert second
    assert 6 <= int(second[1]) < epochs
    trained_epochs = [int(n) for n in re.findall(r"^epoch=(\d+) ", output, re.MULTILINE)]
    assert trained_epochs == list(range(int(second[1]) + 1, epochs + 1))
    assert (base / "model" / "model.onnx").exists()
    assert len(list((tmp_path / "mlruns").rglob("params"))) == 1


def test_an_export_goes_on_after_sigterm(tmp_path: Path) -> None:
    base = lay_out(tmp_path / "ml", epochs=1)
    code, output = signalled(base, "trained: ", signal.SIGTERM)
    assert code == 0, output
    assert (base / "model" / "model.pt").exists()
