"""One service is one lifetime: what it knows and runs is its own, and is there again for the next one over its home."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from laptop import storing
from laptop.database import Database, NotStored
from laptop.sagemaker import service
from laptop.sagemaker.core import errors
from laptop.sagemaker.service import SageMaker

GROUP = {"ModelPackageGroupName": "detectors"}


@pytest.fixture
def make() -> Iterator[Callable[[Path], SageMaker]]:
    """A service over a home, started; no cloud is behind it."""
    made: list[SageMaker] = []

    def start(home: Path) -> SageMaker:
        sagemaker = SageMaker(home, "http://127.0.0.1:1", role_credentials=lambda _: {}, put_event=lambda _: None)
        sagemaker.start()
        made.append(sagemaker)
        return sagemaker

    yield start
    for sagemaker in made:
        sagemaker.stop()


def groups(sagemaker: SageMaker) -> list[str]:
    listed = sagemaker.call("ListModelPackageGroups", {})["ModelPackageGroupSummaryList"]
    return [group["ModelPackageGroupName"] for group in listed]


def test_services_beside_each_other_know_nothing_of_each_other(
    tmp_path: Path, make: Callable[[Path], SageMaker]
) -> None:
    one, other = make(tmp_path / "one"), make(tmp_path / "other")
    one.call("CreateModelPackageGroup", GROUP)
    assert (groups(one), groups(other)) == (["detectors"], [])
    other.call("CreateModelPackageGroup", GROUP)


def test_the_next_service_over_a_home_goes_on(tmp_path: Path, make: Callable[[Path], SageMaker]) -> None:
    first = make(tmp_path)
    first.call("CreateModelPackageGroup", GROUP)
    first.stop()
    again = make(tmp_path)
    assert groups(again) == ["detectors"]
    with pytest.raises(errors.ServiceError, match="already exists"):
        again.call("CreateModelPackageGroup", GROUP)


def test_what_a_killed_service_left_of_its_jobs_is_removed(tmp_path: Path, make: Callable[[Path], SageMaker]) -> None:
    left = tmp_path / "jobs" / "training-job" / "killed" / "model"
    left.mkdir(parents=True)
    make(tmp_path)
    assert not (tmp_path / "jobs").exists()


def test_nothing_of_a_service_runs_once_it_has_stopped(tmp_path: Path, make: Callable[[Path], SageMaker]) -> None:
    before = set(threading.enumerate())
    sagemaker = make(tmp_path)
    assert set(threading.enumerate()) - before
    sagemaker.stop()
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=60)
        assert not thread.is_alive(), thread


def test_what_cannot_be_stored_is_refused(
    tmp_path: Path, make: Callable[[Path], SageMaker], monkeypatch: pytest.MonkeyPatch
) -> None:
    sagemaker = make(tmp_path)

    def full(*_: Any) -> None:
        raise NotStored("No space left on device")

    body = json.dumps(GROUP).encode()
    headers = {"x-amz-target": "SageMaker.CreateModelPackageGroup"}
    with monkeypatch.context() as disk:
        disk.setattr(Database, "write", full)
        status, answered, answer = asyncio.run(sagemaker.handle_request("POST", "/", headers, body, {}))
    assert (status, answered["x-amzn-ErrorType"]) == (503, "ServiceUnavailable")
    assert json.loads(answer)["message"].startswith(storing.CANNOT_STORE)
    assert groups(sagemaker) == []
    assert asyncio.run(sagemaker.handle_request("POST", "/", headers, body, {}))[0] == 200


def test_every_operation_belongs_to_one_room(tmp_path: Path, make: Callable[[Path], SageMaker]) -> None:
    named = [(room.SERVICE, name) for room in service._ROOMS for name in room.OPERATIONS]
    assert len(named) == len(set(named))
    assert make(tmp_path)._operations.keys() == set(named)
