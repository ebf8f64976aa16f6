"""What rollback's JSONata makes of sample inputs is what the services take and what people read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.infra.expressions import SETTINGS, accepted, run, state, which
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
        "unwanted": V2,
        "stopped": False,
        "deployed_at": DEPLOYED,
        "last_good": {"config": V2},
        **changes,
        "endpoint": {
            "EndpointStatus": "InService",
            "EndpointConfigName": V2,
            "LastModifiedTime": "2026-01-01T00:00:00Z",
            **changes.get("endpoint", {}),
        },
    }
    return which("rollback", "CheckDeploymentOwner", variables)


def test_a_person_rolls_back_what_serves() -> None:
    assert owner() == "ChooseTarget"
    assert owner(endpoint={"EndpointStatus": "RollingBack"}) == "WaitForDeployment"


def coming(serving: str, config: str) -> dict[str, Any]:
    """An endpoint that is being updated."""
    pending = {"EndpointConfigName": config}
    return {"EndpointStatus": "Updating", "EndpointConfigName": serving, "PendingDeploymentSummary": pending}


@pytest.mark.parametrize(
    ("endpoint", "unwanted"),
    [
        ({"EndpointStatus": "InService", "EndpointConfigName": V2}, V2),
        # Instances are added.
        ({"EndpointStatus": "Updating", "EndpointConfigName": V2}, V2),
        # A new version comes, and a person sees it going wrong.
        (coming(V2, "skyloop-dev-v3"), "skyloop-dev-v3"),
        # What was good is on its way back already: by a rollback, or by a deployment whose smoke test failed.
        (coming(V2, V1), V2),
        (coming("skyloop-dev-v3", V2), "skyloop-dev-v3"),
    ],
)
def test_who_is_to_leave_where_a_person_asks(endpoint: dict[str, Any], unwanted: str) -> None:
    look = state("rollback", "DescribeEndpoint")["Assign"]["unwanted"]
    last_good = {"config": V2, "previous_config": V1}
    assert run(look, {"unwanted": "", "last_good": last_good}, result=endpoint) == unwanted
    # Whatever comes in its place is not blamed for it.
    assert run(look, {"unwanted": "skyloop-dev-v9", "last_good": last_good}, result=endpoint) == "skyloop-dev-v9"


def test_what_took_the_place_of_the_bad_version_stays() -> None:
    assert owner(endpoint=coming(V2, V1)) == "WaitForDeployment"
    assert owner(endpoint={"EndpointConfigName": V1}) == "AlreadySettled"
    assert owner(endpoint={"EndpointConfigName": V2}, unwanted="skyloop-dev-v3") == "AlreadySettled"


def test_a_rollback_by_alarm_waits_for_the_test_of_its_version() -> None:
    now = {"LastModifiedTime": datetime.now(UTC).isoformat()}
    assert owner(since=DEPLOYED - 1, last_good={"config": V1}, endpoint=now) == "WaitForDeployment"
    assert owner(since=DEPLOYED - 1, last_good={"config": V1}) == "ChooseTarget"
    # A person need not wait.
    assert owner(last_good={"config": V1}, endpoint=now) == "ChooseTarget"


def test_a_person_stops_an_update_under_way() -> None:
    assert owner(endpoint=coming(V1, V2)) == "RecordStop"
    assert owner(endpoint=coming(V1, V2), stopped=True) == "WaitForDeployment"
    assert owner(endpoint={"EndpointConfigName": V1}, stopped=True) == "UpdateStopped"
    # It was through before it could be stopped.
    assert owner(endpoint={"EndpointConfigName": V2}, stopped=True) == "ChooseTarget"
    arguments = run(state("rollback", "StopUpdate")["Arguments"], {"reason": "boxes everywhere " * 100})
    accepted("cloudwatch", "SetAlarmState", arguments)


def test_a_change_of_instances_is_no_deployment() -> None:
    """SageMaker is Updating then too, for a rollback that must not be given up."""
    scaling = {"EndpointStatus": "Updating"}
    assert owner(endpoint=scaling) == owner(endpoint=scaling, since=DEPLOYED + 1) == "WaitForDeployment"
    assert owner(since=DEPLOYED + 1) == "ChooseTarget"


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
    # The version that it judges has left where another one serves.
    assert owner(since=DEPLOYED + rang, unwanted=judged, last_good=recorded) == goes


@pytest.mark.parametrize(("since", "goes"), [(DEPLOYED, "CheckAlertedToday"), (0, "PublishAlert")])
def test_an_alarm_is_told_once_a_day_and_a_person_each_time(since: int, goes: str) -> None:
    assert which("rollback", "CheckReason", {**VARIABLES["rollback"], "since": since}) == goes


def test_what_is_told_once_a_day_is_the_same_end_for_the_same_alarm_and_version() -> None:
    def fingerprint(event: str, unwanted: str, reason: str, failed: str) -> str:
        variables = {**VARIABLES["rollback"], "alert": {"event": event}, "unwanted": unwanted, "reason": reason}
        arguments = run(state("rollback", "CheckAlertedToday")["Arguments"], {**variables, "failed": failed})
        accepted("dynamodb", "PutItem", arguments)
        made: str = arguments["Item"]["fingerprint"]["S"]
        assert arguments["ExpressionAttributeValues"][":fingerprint"] == {"S": made}
        return made

    told = [
        ("rollback-failed", V1, "alarm slow: 3 datapoints", "CheckTarget"),
        ("rollback-failed", V1, "alarm slow: 3 datapoints", "ReadLastGood"),
        ("endpoint-alarm", V1, "alarm slow: 3 datapoints", ""),
        ("endpoint-alarm", V1, "alarm 5xx: 3 datapoints", ""),
        ("endpoint-alarm", V2, "alarm slow: 3 datapoints", ""),
    ]
    assert len({fingerprint(*one) for one in told}) == len(told)
    again = ("endpoint-alarm", V2, "alarm slow: 2 datapoints", "")
    assert fingerprint(*again) == fingerprint(*told[-1])


def test_a_package_is_not_rejected_where_it_serves_on_other_instances() -> None:
    packages = {**VARIABLES["rollback"], "bad_package_arn": "package/2", "target_package_arn": "package/1"}
    assert which("rollback", "CheckPackage", packages) == "RejectPackage"
    same = {**packages, "target_package_arn": "package/2"}
    assert which("rollback", "CheckPackage", same) == "RolledBack"
    alert = run(state("rollback", "RolledBack")["Assign"]["alert"], same)
    assert f"serves as {V1}" in alert["kept"]
    assert "approve" not in alert["next_step"]


@pytest.mark.parametrize(
    ("reason", "blameless"),
    [
        (f"alarm {SETTINGS['BrokenAlarmName']}: 3 datapoints", True),
        (f"alarm {SETTINGS['FailingAlarmName']}: 3 datapoints", True),
        (f"alarm {SETTINGS['ErrorAlarmName']}: 3 datapoints", False),
        (f"it rang {SETTINGS['BrokenAlarmName']}", False),
        (None, False),
    ],
)
def test_no_package_is_rejected_for_what_a_lost_instance_does_too(reason: str | None, blameless: bool) -> None:
    given = {"reason": reason} if reason else {}
    assert run(state("rollback", "Begin")["Assign"]["blameless"], input=given) is blameless
    packages = {"bad_package_arn": "package/2", "target_package_arn": "package/1", "blameless": blameless}
    variables = {**VARIABLES["rollback"], **packages}
    assert which("rollback", "CheckPackage", variables) == ("RolledBack" if blameless else "RejectPackage")
    alert = run(state("rollback", "RolledBack")["Assign"]["alert"], variables)
    assert ("stays approved" in alert["kept"], "is rejected" in alert["kept"]) == (blameless, not blameless)
    assert f"skyloop {'deploy' if blameless else 'approve'} 2`" in alert["next_step"]


def test_a_rollback_says_that_nothing_guards_what_serves() -> None:
    told = [
        run(state("rollback", "RolledBack")["Assign"]["alert"], {**VARIABLES["rollback"], "guarded": guarded})["what"]
        for guarded in (True, False)
    ]
    assert ["could not be pointed at it" in what for what in told] == [False, True]


def test_a_version_that_was_rolled_back_before_can_be_rolled_back_again() -> None:
    """Approved again, it fails again: the record of the first time is older than this execution."""
    arguments = run(state("rollback", "RecordRollback")["Arguments"], VARIABLES["rollback"])
    accepted("dynamodb", "PutItem", arguments)
    assert "deployed_at < :began" in arguments["ConditionExpression"]


def test_a_rollback_that_was_overtaken_is_settled() -> None:
    assert which("rollback", "CheckMove", {"move": "overtaken"}) == "AlreadySettled"
