"""A real training, tiny: it ends in time, keeps what it has when SIGTERM comes, and is one model on two machines."""

import inspect
import json
import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from skyloop_container import trainer as trainer_module
from skyloop_container.checkpoints import finished_epochs
from skyloop_container.cpu_precision import CpuMode
from skyloop_container.dataset import read_channel
from skyloop_container.environment import Interrupted, JobError
from skyloop_container.fit import Task, fit, fit_together
from skyloop_container.machines import Machines
from skyloop_container.slicing import SlicingPlan
from skyloop_container.time_limit import TimeLimit
from skyloop_container.trainer import EXPORT_SECONDS
from skyloop_container.training_set import lay_out
from skyloop_container.ultralytics_setup import prepare

from training_container.tests.jobs import lay_out as lay_out_job
from training_container.tests.jobs import run, start
from training_container.tests.pictures import write_channel
from training_container.tests.test_interruptions import interrupt

pytestmark = pytest.mark.xdist_group("container run")


NO_OTHER = EXPORT_SECONDS  # seconds: enough to validate and export, and not for another epoch
NOTHING = 0.0


@dataclass(frozen=True)
class Countdown(TimeLimit):
    """A limit that says how much time is left by how often it was asked."""

    then: float = NOTHING

    def left(self) -> float:
        object.__setattr__(self, "seconds", self.seconds - 1)
        return 1e6 if self.seconds >= 0 else self.then


@pytest.fixture
def task(tmp_path: Path) -> Callable[..., Task]:
    """A training of three steps an epoch and one of validation."""
    prepare(tmp_path / "ultralytics", threads=1)
    splits = {
        split: read_channel(write_channel(tmp_path / split, seeds), 1)[0]
        for split, seeds in {"train": range(9), "val": range(100, 103)}.items()
    }
    data, _, _ = lay_out(splits, ["square"], SlicingPlan(), 64, tmp_path / "data", tmp_path / "kept", window=None)
    overrides = {
        "model": "yolo11n.yaml", "data": str(data), "save_dir": str(tmp_path / "run"), "epochs": 30, "imgsz": 64,
        "batch": 4, "nbs": 4, "device": "cpu", "patience": 50, "plots": False, "verbose": False, "exist_ok": True,
    }  # fmt: skip

    def make(questions: float | None = None, then: float = NOTHING) -> Task:
        limit = None if questions is None else Countdown(0.0, questions, "job-1", tmp_path / "clock.json", then)
        return Task(overrides, tmp_path / "checkpoints", 30, limit)

    return make


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer_module, "autotune", lambda *_: CpuMode(bf16=False, threads=1))


def test_the_last_epoch_that_fits_is_validated_and_is_the_result(task: Callable[..., Task], tmp_path: Path) -> None:
    """Each epoch asks three times between its steps and once at its end: in the third there is no time for another."""
    reports: dict[int, dict[str, float]] = {}
    outcome = fit(task(questions=11, then=NO_OTHER), reports.__setitem__)
    assert (outcome.epochs, outcome.stopped) == (3, "time")
    assert "map50" in reports[3]
    assert "map50" not in reports[2]
    assert outcome.weights.exists()
    assert finished_epochs(tmp_path / "checkpoints" / "last.pt") == 3
    assert json.loads((tmp_path / "clock.json").read_text())["job"] == "job-1"


def test_an_epoch_that_takes_too_long_is_given_up_for_the_one_before(task: Callable[..., Task], tmp_path: Path) -> None:
    outcome = fit(task(questions=10), lambda *_: None)
    assert (outcome.epochs, outcome.stopped) == (2, "time")
    assert outcome.weights == tmp_path / "checkpoints" / "last.pt"
    with pytest.raises(JobError, match="Not one epoch fits"):
        fit(replace(task(questions=2), checkpoints=tmp_path / "others"), lambda *_: None)


def test_without_a_box_to_validate_by_the_last_epoch_is_taken(task: Callable[..., Task], tmp_path: Path) -> None:
    asked = replace(task(), val_period=1)
    for labels in (tmp_path / "data" / "val" / "labels").iterdir():
        labels.write_text("")
    outcome = fit(replace(asked, overrides=asked.overrides | {"epochs": 4, "patience": 2}), lambda *_: None)
    assert (outcome.epochs, outcome.stopped) == (4, None)
    best, last = (torch.load(tmp_path / "checkpoints" / name, weights_only=False) for name in ("best.pt", "last.pt"))
    states = [checkpoint["ema"].state_dict() for checkpoint in (best, last)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_sigterm_in_a_validation_keeps_the_epoch(
    task: Callable[..., Task], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    validate = trainer_module.DetectionTrainer.validate

    def terminated(self: object) -> object:
        os.kill(os.getpid(), signal.SIGTERM)
        return validate(self)

    monkeypatch.setattr(trainer_module.DetectionTrainer, "validate", terminated)
    with pytest.raises(Interrupted):
        fit(replace(task(), val_period=2), lambda *_: None)
    assert finished_epochs(tmp_path / "checkpoints" / "last.pt") == 2
    assert signal.getsignal(signal.SIGTERM) == handler


def test_too_little_memory_is_one_sentence(task: Callable[..., Task], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(trainer_module.DetectionTrainer, "train", fail)
    with pytest.raises(JobError, match="Out of memory with batch=4 and imgsz=64"):
        fit(task(), lambda *_: None)


def test_a_job_without_time_for_an_epoch_says_so(tmp_path: Path) -> None:
    base = lay_out_job(tmp_path / "ml")
    code, output = run("train", base, SKYLOOP_MAX_RUNTIME_SECONDS="30")
    assert code == 1, output
    assert "Not one epoch fits into the 30 s that the job may run" in (base / "output" / "failure").read_text()


def test_a_gpu_instance_without_cuda_fails_before_anything_is_read(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    base = lay_out_job(tmp_path / "ml", train=range(0))
    described = {"current_instance_type": "ml.g5.xlarge", "current_host": "algo-1", "hosts": ["algo-1"]}
    (base / "input" / "config" / "resourceconfig.json").write_text(json.dumps(described))
    assert run("train", base)[0] == 1
    assert "The instance ml.g5.xlarge has a GPU" in (base / "output" / "failure").read_text()


class TwoProcesses(Machines):
    """A machine of two GPUs, whose processes are given the CPU instead."""

    def device(self, number: int) -> str:
        return "cpu"


def test_a_process_for_each_gpu(task: Callable[..., Task], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    machines = TwoProcesses(gpus=2)
    tracking = {"name": "job-1", "tags": {}, "parameters": {}}
    asked = replace(task(), limit=TimeLimit(time.monotonic(), 1e6, "job-1", tmp_path / "clock.json"))
    asked.overrides["epochs"] = 2
    outcome = fit_together(asked, machines, tracking, tmp_path)
    assert (outcome.epochs, outcome.stopped) == (2, None)
    assert outcome.weights.exists()
    assert finished_epochs(tmp_path / "checkpoints" / "last.pt") == 2
    assert json.loads((tmp_path / "clock.json").read_text())["job"] == "job-1"
    said = capfd.readouterr().out
    assert [said.count(f"epoch={number} ") for number in (1, 2)] == [1, 1]

    asked.overrides["data"] = str(tmp_path / "nowhere.yaml")
    with pytest.raises(JobError, match=r"Unexpected .*nowhere.yaml"):
        fit_together(asked, machines, tracking, tmp_path / "data")


def two_machines(folder: Path, **hyperparameters: object) -> tuple[list[Path], dict[str, str]]:
    """Two machines that are this one, under two names: their folders, and what their environment has besides."""
    hosts = ["127.0.0.1", "localhost"]
    bases = [lay_out_job(folder / host, **hyperparameters) for host in hosts]
    for host, base in zip(hosts, bases, strict=True):
        described = {"current_host": host, "hosts": hosts, "network_interface_name": "lo"}
        (base / "input" / "config" / "resourceconfig.json").write_text(json.dumps(described))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return bases, {"MASTER_PORT": str(probe.getsockname()[1]), "SKYLOOP_MAX_RUNTIME_SECONDS": "86400"}


def test_two_machines_train_one_model_and_go_on_after_an_interruption(tmp_path: Path) -> None:
    (first, second), settings = two_machines(tmp_path, epochs=6)
    other = start("train", second, **settings)
    code, output = interrupt(first, 2, signal.SIGTERM, **settings)
    other.terminate()  # told a moment later, when its process has failed because the first one's is gone
    said, _ = other.communicate(timeout=240)
    assert (code, other.returncode) == (143, 143), output + said
    assert not list((second / "checkpoints").rglob("*.pt")), "the first machine keeps them"

    for path in (first / "checkpoints").rglob("*"):  # SageMaker brings them to both
        if path.is_file():
            copied = second / path.relative_to(first)
            copied.parent.mkdir(parents=True, exist_ok=True)
            copied.write_bytes(path.read_bytes())
    before = sorted((second / "checkpoints").rglob("*"))
    other = start("train", second, **settings)
    code, output = run("train", first, **settings)
    said, _ = other.communicate(timeout=240)
    assert (code, other.returncode) == (0, 0), output + said
    assert "resumed after epoch=" in output
    assert "resumed after epoch=" in said
    assert "epoch=6 " in output
    assert "epoch=6 " not in said
    assert (first / "model" / "model.onnx").exists()
    assert not (second / "model").exists()
    assert sorted((second / "checkpoints").rglob("*")) == before
    card = json.loads((first / "model" / "model.json").read_text())
    assert card["epochs"] == {"trained": 6, "asked": 6, "stopped": None}


def test_no_weights_are_downloaded_to_try_half_precision_with() -> None:
    from skyloop_container import trainer
    from ultralytics.engine import trainer as theirs

    assert "check_amp(self.model)" in inspect.getsource(theirs.BaseTrainer), "it asks under another name"
    assert theirs.check_amp(None) is True, trainer.__name__
