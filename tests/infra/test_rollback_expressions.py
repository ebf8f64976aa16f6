"""What rollback's JSONata makes of sample inputs is what the services take and what people read."""

from __future__ import annotations

from typing import Any

import pytest

from tests.infra.expressions import accepted, run, state, which
from tests.infra.samples import VARIABLES


@pytest.mark.parametrize(
    ("serving", "recorded", "before", "target", "package"),
    [
        # The recorded config goes back to the one before it.
        ("skyloop-dev-v2", "skyloop-dev-v2", "skyloop-dev-v1", "skyloop-dev-v1", "package/2"),
        # One that was never recorded goes back to the recorded one.
        ("skyloop-dev-v3", "skyloop-dev-v2", "skyloop-dev-v1", "skyloop-dev-v2", "model-package/skyloop-dev/3"),
        # Nothing to go back to.
        ("skyloop-dev-v1", "skyloop-dev-v1", "", "", "package/1"),
        ("made-by-hand", "", "", "", ""),
    ],
)
def test_where_a_rollback_goes(serving: str, recorded: str, before: str, target: str, package: str) -> None:
    last_good = {
        "config": recorded,
        "package_arn": f"package/{recorded[-1:]}",
        "previous_config": before,
        "previous_package_arn": "package/1",
    }
    assign = run(
        state("rollback", "ChooseTarget")["Assign"],
        {"endpoint": {"EndpointConfigName": serving}, "last_good": last_good},
    )
    assert assign["target"] == target
    assert assign["bad_package_arn"].endswith(package)
    assert bool(assign["bad_package_arn"]) == bool(package)


V1, V2 = "skyloop-dev-v1", "skyloop-dev-v2"
DEPLOYED = 1_763_892_000_000
HOUR = 3_600_000


def owner(**changes: Any) -> str:
    """Where a rollback goes from the endpoint's state: by a person, on v2 in service, unless changed."""
    variables = {
        **VARIABLES["rollback"],
        "since": 0,
        "judged": "",
        "before_update": "",
        "deployed_at": DEPLOYED,
        "last_good": {"config": V2},
        **changes,
        "endpoint": {"EndpointStatus": "InService", "EndpointConfigName": V2, **changes.get("endpoint", {})},
    }
    return which("rollback", "CheckDeploymentOwner", variables)


def test_a_person_rolls_back_what_serves() -> None:
    assert owner() == "ChooseTarget"
    assert owner(endpoint={"EndpointStatus": "RollingBack"}) == "WaitForDeployment"


def test_a_person_stops_an_update_under_way() -> None:
    coming = {"EndpointStatus": "Updating", "EndpointConfigName": V1, "PendingDeploymentSummary": {}}
    assert owner(endpoint=coming) == "StopUpdate"
    assert owner(endpoint=coming, before_update=V1) == "WaitForDeployment"
    assert owner(endpoint={"EndpointConfigName": V1}, before_update=V1) == "UpdateStopped"
    # It was through before it could be stopped.
    assert owner(endpoint={"EndpointConfigName": V2}, before_update=V1) == "ChooseTarget"
    arguments = run(state("rollback", "StopUpdate")["Arguments"], {"reason": "boxes everywhere " * 100})
    accepted("cloudwatch", "SetAlarmState", arguments)


def test_a_change_of_instances_is_no_deployment() -> None:
    """SageMaker is Updating then too, for a rollback that must not be given up."""
    scaling = {"EndpointStatus": "Updating"}
    assert owner(endpoint=scaling) == owner(endpoint=scaling, since=DEPLOYED + 1, judged=V2) == "WaitForDeployment"
    assert owner(since=DEPLOYED + 1, judged=V2) == "ChooseTarget"


@pytest.mark.parametrize(
    ("rang", "judged", "recorded", "goes"),
    [
        (1, V2, {"config": V2}, "ChooseTarget"),
        # Before its record was written: the smoke test was not through yet.
        (-1, V2, {"config": V1}, "ChooseTarget"),
        # For a version that has left by now.
        (1, V1, {"config": V2}, "AlreadySettled"),
        # On what the version did before it left and came back.
        (1, V2, {"config": V2, "rolled_back_from": "skyloop-dev-v3"}, "AlreadySettled"),
        (HOUR, V2, {"config": V2, "rolled_back_from": "skyloop-dev-v3"}, "ChooseTarget"),
        (24 * HOUR - 1, V2, {"config": V2}, "ChooseTarget"),
        (24 * HOUR + 1, V2, {"config": V2}, "TellAlarm"),
    ],
)
def test_an_alarm_counts_for_the_version_that_it_judges(rang: int, judged: str, recorded: dict, goes: str) -> None:
    assert owner(since=DEPLOYED + rang, judged=judged, last_good=recorded) == goes


@pytest.mark.parametrize(("since", "goes"), [(DEPLOYED, "CheckAlertedToday"), (0, "PublishAlert")])
def test_an_alarm_is_told_once_a_day_and_a_person_each_time(since: int, goes: str) -> None:
    assert which("rollback", "CheckReason", {**VARIABLES["rollback"], "since": since}) == goes


def test_what_is_told_once_a_day_is_the_same_end_of_the_same_version() -> None:
    def fingerprint(event: str, subject: str, failed: str) -> str:
        alert = {"event": event, "subject": subject}
        variables = {**VARIABLES["rollback"], "alert": alert, "failed": failed}
        arguments = run(state("rollback", "CheckAlertedToday")["Arguments"], variables)
        accepted("dynamodb", "PutItem", arguments)
        made: str = arguments["Item"]["fingerprint"]["S"]
        assert arguments["ExpressionAttributeValues"][":fingerprint"] == {"S": made}
        return made

    told = [("rollback-failed", V1, "CheckTarget"), ("endpoint-alarm", V1, ""), ("endpoint-alarm", V2, "")]
    assert len({fingerprint(*one) for one in told}) == 3
