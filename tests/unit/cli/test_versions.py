"""`approve`, `reject`, `deploy`, `rollback` against moto's services."""

from __future__ import annotations

import pytest

from cli.cloud import Cloud
from tests.unit.cli.filled import (
    put_endpoint,
    put_endpoint_state,
    put_package,
    started,
)


def test_approve_takes_the_newest_that_waits(invoke, cloud: Cloud) -> None:
    put_package(cloud, "PendingManualApproval")
    waiting = put_package(cloud, "PendingManualApproval")
    put_package(cloud, "Rejected")
    result = invoke("approve", "--comment", "looks good")
    assert result.exit_code == 0, result.stderr
    assert "Version 2 is Approved" in result.stdout
    described = cloud.client("sagemaker").describe_model_package(ModelPackageName=waiting)
    assert described["ModelApprovalStatus"] == "Approved"
    assert described["ApprovalDescription"] == "looks good"


def test_approving_twice_changes_nothing(invoke, cloud: Cloud) -> None:
    put_package(cloud, "Approved")
    assert "nothing changed" in invoke("approve", "1").stdout


@pytest.mark.parametrize(("arguments", "says"), [((), "No model package waits for approval"), (("7",), "no version 7")])
def test_nothing_to_approve(invoke, cloud: Cloud, arguments: tuple[str, ...], says: str) -> None:
    put_package(cloud, "Approved")
    result = invoke("approve", *arguments)
    assert result.exit_code == 1
    assert says in result.stderr
    assert "next" in result.stderr


def test_rejecting_what_serves_warns(invoke, cloud: Cloud) -> None:
    arn = put_package(cloud, "Approved")
    put_endpoint(cloud)
    put_endpoint_state(cloud, "skyloop-dev-v1", arn)
    result = invoke("reject", "1")
    assert "in service and stays so" in result.stdout
    assert cloud.client("sagemaker").describe_model_package(ModelPackageName=arn)["ModelApprovalStatus"] == "Rejected"


def test_deploy_starts_the_deployment_of_a_version(invoke, cloud: Cloud) -> None:
    arn = put_package(cloud, "Approved")
    assert invoke("deploy", "v1", "--no-wait").exit_code == 0
    assert invoke("deploy", "--no-wait").exit_code == 0  # a name of its own each time
    assert started(cloud, "Deploy") == [
        {"model_package_arn": arn, "force": False},
        {"model_package_arn": arn, "force": True},  # a person who names a version means it, whatever serves
    ]


def test_an_older_version_is_approved_without_the_promise_to_deploy_it(invoke, cloud: Cloud) -> None:
    put_package(cloud, "Rejected")
    newer = put_package(cloud, "Approved")
    put_endpoint(cloud, "skyloop-dev-v2")
    put_endpoint_state(cloud, "skyloop-dev-v2", newer)
    said = " ".join(invoke("approve", "1").stdout.split())
    assert "It is not deployed, because version 2 in service is newer: `skyloop deploy 1`" in said


def test_only_what_is_approved_is_deployed(invoke, cloud: Cloud) -> None:
    put_package(cloud, "PendingManualApproval")
    result = invoke("deploy", "1", "--no-wait")
    assert result.exit_code == 1
    assert "skyloop approve 1" in result.stderr
    assert started(cloud, "Deploy") == []


def test_rollback(invoke, cloud: Cloud) -> None:
    assert "no endpoint" in invoke("rollback").stderr
    put_endpoint(cloud)
    assert "no earlier config" in invoke("rollback").stderr
    put_endpoint_state(cloud, "skyloop-dev-v1")
    assert "no earlier config" in invoke("rollback").stderr
    put_endpoint_state(cloud, "skyloop-dev-v1", previous_config="skyloop-dev-v0")
    assert invoke("rollback", "--reason", "too slow", "--no-wait").exit_code == 0
    assert started(cloud, "Rollback") == [{"endpoint_name": "skyloop-dev", "reason": "too slow"}]


def test_a_rollback_to_a_rejected_version_asks_first(invoke, cloud: Cloud) -> None:
    put_endpoint(cloud)
    package = put_package(cloud, "Approved")
    back = {"previous_config": "skyloop-dev-v0", "previous_package_arn": package}
    put_endpoint_state(cloud, "skyloop-dev-v1", **back)
    assert invoke("rollback", "--no-wait").exit_code == 0
    sagemaker = cloud.client("sagemaker")
    sagemaker.update_model_package(
        ModelPackageArn=package, ModelApprovalStatus="Rejected", ApprovalDescription="blind at dusk"
    )
    result = invoke("rollback", "--no-wait")
    assert result.exit_code == 1
    said = " ".join(result.stderr.split())
    assert "The version to go back to, 1, was rejected: " in said
    assert "`skyloop rollback --to-rejected` goes back all the same" in said
    assert len(started(cloud, "Rollback")) == 1
    assert invoke("rollback", "--to-rejected", "--no-wait").exit_code == 0
    # A package that is gone keeps nobody from going back.
    put_endpoint_state(cloud, "skyloop-dev-v1", **back | {"previous_package_arn": f"{package}9"})
    assert invoke("rollback", "--no-wait").exit_code == 0
    assert len(started(cloud, "Rollback")) == 3


def test_a_rollback_while_a_deployment_is_prepared_says_when_to_repeat(invoke, cloud: Cloud) -> None:
    put_package(cloud, "Approved")
    put_endpoint(cloud)
    put_endpoint_state(cloud, "skyloop-dev-v1")
    assert invoke("deploy", "1", "--no-wait").exit_code == 0
    result = invoke("rollback")
    assert result.exit_code == 1
    assert "A deployment is being prepared" in result.stderr


def test_rollback_of_a_config_that_was_never_recorded_needs_no_earlier_one(invoke, cloud: Cloud) -> None:
    """A deployment that failed, and whose restoring failed too, leaves such a config; its alert names this command."""
    put_endpoint(cloud)
    put_endpoint_state(cloud, "skyloop-dev-v0")
    assert invoke("rollback", "--no-wait").exit_code == 0
    assert len(started(cloud, "Rollback")) == 1
