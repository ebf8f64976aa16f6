"""Which checkpoints a training goes on from: its own, and never those of another under the same prefix."""

import shutil
from pathlib import Path

import pytest
import torch
from skyloop_container.base_model import Base
from skyloop_container.checkpoints import (
    MARKER,
    Checkpoints,
    close_checkpoints,
    find_checkpoints,
    fingerprint,
    interrupted,
    open_checkpoints,
)
from skyloop_container.hyperparameters import Hyperparameters, parse_hyperparameters

SCRATCH = Base("scratch", "yolo11n.yaml", "random weights")


def job(**values: object) -> Hyperparameters:
    return parse_hyperparameters({"categories": '["a"]'} | {name: str(value) for name, value in values.items()})


def opened(root: Path, base: Base = SCRATCH, **values: object) -> Checkpoints:
    return open_checkpoints(root, fingerprint(job(**values), base))


def trained(checkpoints: Checkpoints, epochs: int) -> None:
    torch.save({"epoch": epochs - 1}, checkpoints.folder / "last.pt")


def given(kind: str, path: Path, content: bytes) -> Base:
    path.write_bytes(content)
    return Base(kind, str(path), path.name)


class Prefix:
    """S3 as SageMaker uses it for checkpoints: files are put and never removed, and empty folders are not kept."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "checkpoints"
        self._objects: dict[str, bytes] = {}

    def put(self) -> None:
        for path in self.root.rglob("*"):
            if path.is_file():
                self._objects[path.relative_to(self.root).as_posix()] = path.read_bytes()

    def bring_to_another_machine(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
        for key, content in self._objects.items():
            path = self.root / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"asked_sha256": ', "[" * 100_000])
def test_a_damaged_resume_marker_is_no_checkpoint(tmp_path: Path, content: str) -> None:
    """What a machine leaves that went away in the middle of a write: the job begins again."""
    trained(opened(tmp_path), 3)
    (tmp_path / MARKER).write_text(content)
    again = opened(tmp_path)
    assert (again.last, again.finished_epochs) == (None, 0)


def test_an_interrupted_training_goes_on_with_its_own_checkpoint(tmp_path: Path) -> None:
    trained(opened(tmp_path), 3)
    assert opened(tmp_path).finished_epochs == 3
    (opened(tmp_path).folder / "last.pt").write_bytes(b"half a checkpoint")
    assert opened(tmp_path).last is None


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize("changed", [{"epochs": 60}, {}])
def test_a_checkpoint_of_another_training_is_not_taken(tmp_path: Path, finished: bool, changed: dict[str, int]) -> None:
    """SageMaker brings all of them back after an interruption, those that this machine had removed as well."""
    first = opened(tmp_path)
    trained(first, 4)
    marker = tmp_path / MARKER
    if finished:
        close_checkpoints(tmp_path)
    elif not changed:
        marker.unlink()
    second = opened(tmp_path, **changed)
    assert second.last is None
    first.folder.mkdir(exist_ok=True)
    trained(first, 4)  # restored
    again = opened(tmp_path, **changed)
    assert (again.folder, again.last) == (second.folder, None)


@pytest.mark.parametrize("kept", [True, False], ids=["with-a-file", "without-a-file"])
def test_a_retrain_interrupted_in_its_first_epoch_does_not_resume_the_training_before_it(
    tmp_path: Path, kept: bool
) -> None:
    """The marker goes up before the first epoch ends; the checkpoint of the training before lies under the prefix."""
    prefix = Prefix(tmp_path)
    before = opened(prefix.root)
    trained(before, 100)
    close_checkpoints(prefix.root)
    prefix.put()

    prefix.bring_to_another_machine()
    retrain = opened(prefix.root)
    if kept:
        (retrain.folder / "mlflow-run-id").write_text("7")
    prefix.put()

    prefix.bring_to_another_machine()
    assert (prefix.root / before.folder.name / "last.pt").exists()
    again = opened(prefix.root)
    assert (again.last, again.finished_epochs) == (None, 0)
    assert (again.folder == retrain.folder) is kept
    trained(again, 2)
    prefix.put()

    prefix.bring_to_another_machine()
    assert (opened(prefix.root).folder, opened(prefix.root).finished_epochs) == (again.folder, 2)


@pytest.mark.parametrize("kind", ["champion", "weights"])
def test_a_training_from_another_base_begins_anew(tmp_path: Path, kind: str) -> None:
    """The base comes by a channel, so the hyperparameters are the same."""
    asked = given(kind, tmp_path / "asked.pt", b"weights")
    unpacked_again = given(kind, tmp_path / "again.pt", b"weights")
    other_kind = given({"champion": "weights", "weights": "champion"}[kind], tmp_path / "kind.pt", b"weights")
    for number, other in enumerate([given(kind, tmp_path / "other.pt", b"other"), other_kind, SCRATCH]):
        root = tmp_path / str(number)
        trained(opened(root, asked), 3)
        assert opened(root, unpacked_again).finished_epochs == 3
        assert opened(root, other).last is None


def test_a_checkpoint_that_is_not_there_yet_is_not_looked_for_in_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ultralytics.utils import downloads

    asked: list[object] = []
    monkeypatch.setattr(downloads, "get_github_assets", lambda *names, **_: (asked.append(names), ("", []))[1])
    first = opened(tmp_path)
    assert opened(tmp_path) == first
    assert not asked


def test_a_damaged_best_epoch_does_not_fail_the_export_hours_later(tmp_path: Path) -> None:
    first = opened(tmp_path)
    trained(first, 3)
    best = first.folder / "best.pt"
    torch.save({"epoch": 1}, best)
    assert interrupted(opened(tmp_path).folder, None).weights == best
    best.write_bytes(best.read_bytes()[:-100])
    again = opened(tmp_path)
    assert (again.finished_epochs, best.exists()) == (3, False)
    assert interrupted(again.folder, None).weights == again.last


def test_other_machines_read_the_checkpoints_and_change_nothing(tmp_path: Path) -> None:
    asked = fingerprint(job(), SCRATCH)
    assert find_checkpoints(tmp_path, asked) is None
    first = opened(tmp_path)
    trained(first, 2)
    before = sorted(tmp_path.rglob("*"))
    found = find_checkpoints(tmp_path, asked)
    assert found
    assert (found.last, found.finished_epochs) == (first.folder / "last.pt", 2)
    (first.folder / "last.pt").write_bytes(b"")
    assert find_checkpoints(tmp_path, asked) is None
    assert find_checkpoints(tmp_path, fingerprint(job(seed=1), SCRATCH)) is None
    assert sorted(tmp_path.rglob("*")) == before
