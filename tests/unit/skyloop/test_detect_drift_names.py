"""functions/detect_drift where baseline and answers name different statistics: judged by those that both have, or loud.

"glare" is a statistic that the product does not have: it is added here, or a newer container has written it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from skyloop.formats import profile
from skyloop.formats.profile import Statistic

from tests.support.profiles import NAMES, Rows, draw
from tests.support.watched_endpoint import DARK, ENDPOINT, WINDOW, World, written_metrics


@pytest.fixture
def glare(monkeypatch: pytest.MonkeyPatch) -> None:
    """The product knows one more statistic."""
    statistic = Statistic("glare", "share of white pixels", "more dazzled", "less dazzled", 0.001)
    monkeypatch.setitem(profile.STATISTICS, "glare", statistic)


def with_glare(world: World) -> Rows:
    """Reference rows with one column more, and answers that have it too."""
    world.written = lambda written: written | {"glare": 0.1 + 0.01 * world.random.normal()}
    return np.column_stack([draw(world.random, 60), 0.1 + 0.01 * world.random.normal(size=60)])


def without(*names: str) -> Any:
    """What a container writes that does not know `names`."""
    return lambda written: {name: value for name, value in written.items() if name not in names}


def judgment(world: World) -> dict[str, Any]:
    """The newest judgment that was written down."""
    *_, newest = (key for key in world.keys(f"monitoring/drift/{ENDPOINT}/") if key.endswith(".json"))
    return world.storage.read_json(newest)["judgment"]


@pytest.mark.usefixtures("glare")
def test_a_model_packaged_before_a_statistic_existed_still_alarms(world):
    world.deploy()
    assert world.tell(world.serve(WINDOW)) == {"batchItemFailures": []}
    assert (judgment(world)["decision"], judgment(world)["not_compared"]) == ("OK", {})
    world.tell(world.serve(WINDOW, DARK))
    [alert] = world.alerts()
    assert (alert["event"], "images are darker" in alert["what"]) == ("drift", True)


def test_documents_without_a_version_are_judged(world):
    world.deploy()
    world.written = without("version")
    document = world.storage.read_json("model-artifacts/job-1/evaluation/baseline.json")
    del document["version"]
    world.storage.write_json("model-artifacts/job-1/evaluation/baseline.json", document)
    world.tell(world.serve(WINDOW, DARK))
    assert [alert["event"] for alert in world.alerts()] == ["drift"]


@pytest.mark.usefixtures("glare")
def test_a_new_model_with_an_old_baseline_still_alarms_and_says_what_it_left_out(world, capsys, caplog):
    world.deploy()
    with_glare(world)
    world.tell(world.serve(WINDOW, DARK))
    assert [alert["event"] for alert in world.alerts()] == ["drift"]
    assert judgment(world)["not_compared"] == {"glare": "the baseline does not have it"}
    [page] = [key for key in world.keys("monitoring/drift/") if key.endswith(".html")]
    assert b"glare: the baseline does not have it" in world.storage.read(page).body
    metrics = written_metrics(capsys.readouterr().out)
    assert metrics["DriftStatisticsNotCompared"]["DriftStatisticsNotCompared"] in (1, [1])
    [warning] = [record for record in caplog.records if record.levelname == "WARNING"]
    assert warning.not_compared == {"glare": "the baseline does not have it"}


@pytest.mark.usefixtures("glare")
def test_an_old_model_with_a_new_baseline_still_alarms(world):
    world.deploy()
    world.baseline("job-1", with_glare(world), (*NAMES, "glare"))
    world.written = dict
    world.tell(world.serve(WINDOW, DARK))
    assert [alert["event"] for alert in world.alerts()] == ["drift"]
    assert judgment(world)["not_compared"] == {"glare": "the answers do not have it"}


def test_a_stack_that_was_rolled_back_judges_a_newer_model_by_what_it_knows(world):
    world.deploy()
    world.baseline("job-1", with_glare(world), (*NAMES, "glare"))
    world.tell(world.serve(WINDOW, DARK))
    assert [alert["event"] for alert in world.alerts()] == ["drift"]
    assert judgment(world)["not_compared"] == {"glare": "no such statistic is known here"}


def test_too_few_shared_statistics_are_said_counted_and_not_retried(world, capsys):
    world.deploy()
    world.written = without(*NAMES[2:])
    assert world.tell(world.serve(WINDOW, DARK)) == {"batchItemFailures": []}
    assert "share 2 statistics (brightness, contrast), 3 are needed" in world.tick()["outcome"]
    written = written_metrics(capsys.readouterr().out)["DriftUnjudgeable"]
    assert written["DriftUnjudgeable"] in (1, [1])
    assert written["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "Skyloop"
    # What DriftNotJudgedAlarm watches: the dimensions must be these and no others.
    assert set(written["_aws"]["CloudWatchMetrics"][0]["Dimensions"][0]) == {"Endpoint", "service"}
    assert (written["Endpoint"], written["service"]) == ("skyloop-dev", "skyloop")
    assert world.keys("monitoring/drift/") == []


def test_answers_in_a_layout_that_is_too_new_are_said_and_counted(world, capsys):
    world.deploy()
    world.written = lambda written: written | {"version": 2}
    world.serve(3, job="job-0")  # another model's are not this one's problem
    assert world.tell(world.serve(8)) == {"batchItemFailures": []}
    assert world.tick()["outcome"].startswith("0 of 10 images seen since")
    assert written_metrics(capsys.readouterr().out)["DriftUnjudgeable"]["DriftUnjudgeable"] in (0, [0])
    world.tell(world.serve(2))
    assert "10 more answers have a profile that cannot be used: the profile has version 2" in world.tick()["outcome"]
    assert written_metrics(capsys.readouterr().out)["DriftUnjudgeable"]["DriftUnjudgeable"] in (1, [1])


def test_one_answer_with_half_a_profile_takes_nothing_from_the_others(world):
    world.deploy()
    world.written = without(*NAMES[3:])
    world.serve(1)
    world.written = dict
    world.tell(world.serve(WINDOW - 1, DARK))
    assert [alert["event"] for alert in world.alerts()] == ["drift"]
    assert [evidence["name"] for evidence in judgment(world)["statistics"]] == list(NAMES)
    assert judgment(world)["window"] == WINDOW - 1
