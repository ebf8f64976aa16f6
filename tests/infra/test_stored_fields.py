"""What the state machines write for others to read, field for field as `skyloop.documents` names it."""

from __future__ import annotations

import re

from skyloop.documents import EndpointState, PackageMetadata

from tests.infra import wiring
from tests.infra.expressions import run
from tests.infra.samples import VARIABLES


def test_retrain_writes_the_metadata_of_a_package() -> None:
    request = wiring.machine("retrain")["States"]["RegisterPackage"]["Arguments"]
    assert set(run(request["CustomerMetadataProperties"], VARIABLES["retrain"])) == set(PackageMetadata.model_fields)


def test_what_deploy_reads_of_a_package_is_in_its_metadata() -> None:
    text = (wiring.ROOT / "statemachines" / "deploy.asl.yaml").read_text(encoding="utf-8")
    read = set(re.findall(r"CustomerMetadataProperties\.(\w+)", text))
    assert read == {"golden_predictions_uri", "correlation_id", "model_sha256", "golden_predictions_sha256", "engine"}
    assert read <= set(PackageMetadata.model_fields)


def test_deploy_and_rollback_write_the_state_of_an_endpoint() -> None:
    last_good = {
        "config": "skyloop-dev-v1",
        "package_arn": "package/1",
        "previous_config": "skyloop-dev-v0",
        "previous_package_arn": "package/0",
    }
    variables = {"config": "skyloop-dev-v2", "package_arn": "package/2", "last_good": last_good}
    deployed = run(wiring.machine("deploy")["States"]["RecordDeployment"]["Arguments"]["Item"], variables)
    rolled_back = wiring.machine("rollback")["States"]["RecordRollback"]["Arguments"]["Item"]
    assert deployed.keys() | rolled_back.keys() == EndpointState.model_fields.keys() | {"name"}
    required = {name for name, field in EndpointState.model_fields.items() if field.is_required()}
    assert required <= deployed.keys() & rolled_back.keys()
