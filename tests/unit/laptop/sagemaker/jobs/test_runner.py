"""What a job does where its data cannot be moved at the moment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from laptop.sagemaker.core.transfer import TransferError, Unavailable
from laptop.sagemaker.jobs import runner


class Job(runner.Job):
    """One that does nothing."""

    kind, log_group = "training-job", ""

    def work(self) -> None:
        raise NotImplementedError

    def end(self, status: str, reason: str | None = None, timed_out: bool = False) -> None:
        raise NotImplementedError


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    monkeypatch.setattr(runner, "_PAUSES", (0.0, 0.0))
    context: Any = SimpleNamespace(home=tmp_path)
    return Job(context, "job")


def failing(times: int, error: type[Exception] = Unavailable) -> Callable[[], str]:
    left = [error("no room")] * times

    def move() -> str:
        if left:
            raise left.pop()
        return "moved"

    return move


def test_what_may_pass_is_tried_again(job: Job) -> None:
    assert job.patiently(failing(2)) == "moved"
    with pytest.raises(Unavailable):
        job.patiently(failing(3))


def test_what_never_passes_is_not(job: Job) -> None:
    with pytest.raises(TransferError):
        job.patiently(failing(1, TransferError))


def test_a_stop_ends_the_wait_for_data_and_not_for_results(job: Job) -> None:
    job.stop_requested.set()
    with pytest.raises(runner.Stopped):
        job.patiently(failing(1))
    assert job.patiently(failing(1), stoppable=False) == "moved"


def test_a_cloud_that_stops_waits_for_nothing(job: Job) -> None:
    job.closing.set()
    with pytest.raises(runner._Closing):
        job.patiently(failing(1), stoppable=False)


def test_a_file_that_could_not_be_kept_is_still_to_be_kept(tmp_path: Path) -> None:
    seen: dict[Path, tuple[int, int]] = {}
    (tmp_path / "last.pt").write_bytes(b"1")
    fresh = runner.changed_files(tmp_path, seen)
    assert list(fresh) == list(runner.changed_files(tmp_path, seen)) == [tmp_path / "last.pt"]
    seen |= fresh
    assert runner.changed_files(tmp_path, seen) == {}
