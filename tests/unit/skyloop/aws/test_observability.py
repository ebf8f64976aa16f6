"""skyloop.aws.observability: every handler logs, counts and traces alike, with or without a daemon for traces."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.support.account import ENVIRONMENT
from tests.support.files import REPOSITORY

PROGRAM = """
import json, warnings
warnings.simplefilter("error")
from skyloop.aws.observability import logger, metrics, observed, tracer
from tests.support.account import Context

@observed
def handler(event, context):
    '''What it does.'''
    if "id" in event:
        logger.set_correlation_id(event["id"])
    logger.info("seen")
    metrics.add_metric("Seen", "Count", 1)
    if event.get("fail"):
        raise ValueError("as told")
    return {"traced": not tracer.disabled, "doc": handler.__doc__}

print(json.dumps({"answer": handler({"id": "north-7"}, Context())}))
handler({}, Context())
try:
    handler({"fail": True}, Context())
except ValueError as error:
    print(json.dumps({"raised": str(error)}))
"""


def run(**environment: str) -> list[dict]:
    """The JSON lines that a fresh process, as Lambda starts one, prints for three invocations."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "LAMBDA_", "_X_AMZN"))}
    paths = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "layers/skyloop/python")])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**kept, **ENVIRONMENT, "PYTHONPATH": paths, **environment},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("environment", "traced"),
    [
        ({}, False),
        ({"LAMBDA_TASK_ROOT": "/var/task"}, False),
        ({"LAMBDA_TASK_ROOT": "/var/task", "AWS_XRAY_DAEMON_ADDRESS": "127.0.0.1:9"}, True),
    ],
)
def test_with_and_without_a_daemon(environment, traced):
    lines = run(**environment)
    assert [line["answer"] for line in lines if "answer" in line] == [{"traced": traced, "doc": "What it does."}]
    assert [line["raised"] for line in lines if "raised" in line] == ["as told"]
    seen = [line for line in lines if line.get("message") == "seen"]
    # The correlation id belongs to one invocation: it must not leak into the next.
    assert [line.get("correlation_id") for line in seen] == ["north-7", None, None]
    counted = [line for line in lines if "Seen" in line]
    assert len(counted) == 3
    assert all(line["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "Skyloop" for line in counted)
    assert sum("ColdStart" in line for line in lines) == 1
