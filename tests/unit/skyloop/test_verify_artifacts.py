"""functions/verify_artifacts: what is in the bucket, against what was evaluated."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber
from moto import mock_aws
from pydantic import ValidationError
from skyloop.aws.clients import client
from skyloop.aws.storage import ObjectMissing

from tests.support.account import BUCKET, Context, create_stack, load_handler, set_environment

EVALUATED = {
    "model-artifacts/job/output/model.tar.gz": b"the model",
    "model-artifacts/job/evaluation/golden-predictions.json": b"the golden predictions",
}
MODEL, GOLDEN = EVALUATED


@pytest.fixture(autouse=True)
def stack(monkeypatch):
    set_environment(monkeypatch)
    with mock_aws():
        create_stack()
        for key, body in EVALUATED.items():
            client("s3").put_object(Bucket=BUCKET, Key=key, Body=body)
        yield


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def ask(**changes: Any) -> dict[str, Any]:
    artifacts = [{"uri": f"s3://{BUCKET}/{key}", "sha256": digest(body)} for key, body in EVALUATED.items()]
    return load_handler("verify_artifacts").handler({"artifacts": artifacts, **changes}, Context())


def test_what_was_evaluated_is_verified():
    assert ask() == {"verified": True, "summary": "the artifacts are those that were evaluated"}


@pytest.mark.parametrize("key", EVALUATED)
def test_what_was_overwritten_is_named_with_both_digests(key):
    client("s3").put_object(Bucket=BUCKET, Key=key, Body=b"another")
    answer = ask()
    assert not answer["verified"]
    assert answer["summary"] == (
        f"s3://{BUCKET}/{key} has the SHA-256 {digest(b'another')[:12]}…, "
        f"what was evaluated had {digest(EVALUATED[key])[:12]}…"
    )


def test_all_that_differs_is_named():
    for key in EVALUATED:
        client("s3").put_object(Bucket=BUCKET, Key=key, Body=b"another")
    assert ask()["summary"].count("what was evaluated had") == 2


def test_what_is_gone_does_not_differ():
    client("s3").delete_object(Bucket=BUCKET, Key=GOLDEN)
    with pytest.raises(ObjectMissing, match=r"golden-predictions\.json"):
        ask()


def test_what_cannot_be_read_does_not_differ():
    with Stubber(client("s3")) as stub:
        stub.add_client_error("get_object", "SlowDown", http_status_code=503)
        with pytest.raises(ClientError, match="SlowDown"):
            ask()


def test_what_is_no_digest_and_what_lies_elsewhere_is_refused_unread():
    with pytest.raises(ValidationError, match="sha256"):
        ask(artifacts=[{"uri": f"s3://{BUCKET}/{MODEL}", "sha256": "0a1b2c"}])
    with pytest.raises(ValueError, match="not in bucket"):
        ask(artifacts=[{"uri": "s3://elsewhere/model.tar.gz", "sha256": digest(b"")}])
