"""When a training ends so that its export still fits into the job's time."""

import json
import math
import time
from pathlib import Path

import pytest
from skyloop_container.environment import Environment, JobError
from skyloop_container.time_limit import FILE, SLACK, VARIABLE, Pace, TimeLimit, time_limit


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What both clocks say, to be changed."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setenv("TRAINING_JOB_NAME", "job-1")
    monkeypatch.setenv(VARIABLE, "600")
    monkeypatch.setattr(Environment, "input_age", lambda _: 0.0)
    return now


def opened(folder: Path) -> TimeLimit:
    limit = time_limit(Environment(folder), folder)
    assert limit
    return limit


def test_without_a_variable_there_is_no_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert time_limit(Environment(tmp_path), tmp_path) is None


@pytest.mark.parametrize("told", ["soon", "0", "-5", "1e3"])
def test_a_limit_that_is_no_number_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str) -> None:
    monkeypatch.setenv(VARIABLE, told)
    with pytest.raises(JobError, match=f"{VARIABLE} must be a positive whole number"):
        time_limit(Environment(tmp_path), tmp_path)


def test_an_interrupted_job_counts_on_and_another_begins(
    tmp_path: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = opened(tmp_path)
    clock[0] += 250
    assert first.left() == 350
    first.note()
    clock[0] += 10_000  # no machine was free
    again = opened(tmp_path)
    assert again.left() == 350
    clock[0] += 50
    again.note()
    assert opened(tmp_path).left() == 300
    monkeypatch.setenv("TRAINING_JOB_NAME", "job-1-2")
    assert opened(tmp_path).left() == 600


@pytest.mark.parametrize(
    "content", ["", "{", "7", '{"job": "job-1"}', '{"job": "job-1", "seconds": NaN}', '{"job": "job-1", "seconds": -9}']
)
@pytest.mark.usefixtures("clock")
def test_a_damaged_clock_begins_again(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_text(content)
    assert opened(tmp_path).left() == 600


@pytest.mark.usefixtures("clock")
def test_bringing_the_input_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Environment, "input_age", lambda _: 45.0)
    assert opened(tmp_path).left() == 555


def test_the_input_is_as_old_as_what_came_first(tmp_path: Path) -> None:
    assert Environment(tmp_path).input_age() == 0
    (tmp_path / "input" / "config").mkdir(parents=True)
    (tmp_path / "input" / "config" / "hyperparameters.json").write_text("{}")
    assert 0 <= Environment(tmp_path).input_age() < 600


@pytest.mark.usefixtures("clock")
def test_another_process_gets_the_same_limit(tmp_path: Path) -> None:
    limit = opened(tmp_path)
    assert TimeLimit.of(json.loads(json.dumps(limit.as_dict()))) == limit


def test_another_epoch_must_fit_with_both_validations() -> None:
    pace = Pace(training=100.0, validation=10.0)
    least = 10 + SLACK * 110
    assert pace.another_fits(least)
    assert not pace.another_fits(least - 0.001)
    assert pace.another_fits(math.inf)
    assert not Pace(training=100.0).another_fits(100 + SLACK * 200 - 0.001), "an unknown validation may be as long"
