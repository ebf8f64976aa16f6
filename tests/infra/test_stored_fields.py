"""What the state machines write for others to read, field for field as `skyloop.documents` names it."""

from __future__ import annotations

import re

from skyloop.documents import PackageMetadata

from tests.infra import wiring


def test_retrain_writes_the_metadata_of_a_package() -> None:
    request = wiring.machine("retrain")["States"]["RegisterPackage"]["Arguments"]
    assert set(request["CustomerMetadataProperties"]) == set(PackageMetadata.model_fields)


def test_what_deploy_reads_of_a_package_is_in_its_metadata() -> None:
    text = (wiring.ROOT / "statemachines" / "deploy.asl.yaml").read_text(encoding="utf-8")
    read = set(re.findall(r"CustomerMetadataProperties\.(\w+)", text))
    assert read == {"golden_predictions_uri", "correlation_id"}
    assert read <= set(PackageMetadata.model_fields)
