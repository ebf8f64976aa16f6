"""What rollback's JSONata makes of sample inputs is what the services take and what people read."""

from __future__ import annotations

import pytest

from tests.infra.expressions import run, state, which


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


@pytest.mark.parametrize(
    ("status", "waited", "since", "goes"),
    [
        ("Updating", False, 0, "WaitForDeployment"),
        ("RollingBack", False, 5, "WaitForDeployment"),
        # SageMaker's own rollback was in charge.
        ("InService", True, 5, "AlreadySettled"),
        # The endpoint changed after the alarm.
        ("InService", False, 5, "AlreadySettled"),
        ("InService", False, 50, "ChooseTarget"),
        ("InService", False, 0, "ChooseTarget"),
    ],
)
def test_rollback_leaves_sagemaker_to_finish(status: str, waited: bool, since: int, goes: str) -> None:
    variables = {
        "endpoint": {
            "EndpointStatus": status,
            "EndpointConfigName": "skyloop-dev-v1",
            "LastModifiedTime": "1970-01-01T00:00:00.010Z",
        },
        "last_good": {"config": "skyloop-dev-v1"},
        "waited": waited,
        "since": since,
    }
    assert which("rollback", "CheckDeploymentOwner", variables) == goes
