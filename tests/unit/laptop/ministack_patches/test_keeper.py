"""What one service cannot have written down is no other's loss."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ministack.core import persistence

from laptop import storing
from laptop.database import NotStored
from laptop.journal import FILE, Journal
from laptop.ministack_patches import keeper
from laptop.ministack_patches.keeper import Keeper, ServicesNotStored


@pytest.fixture
def states(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Callable[[], Any]]:
    """What the services' states are made by; that of `sqs` cannot be made into text."""
    states: dict[str, Callable[[], Any]] = {"sqs": lambda: {1j: 2}, "ssm": lambda: {"a": "x\ud800y"}}
    monkeypatch.setattr(keeper, "services_states", lambda: states)
    monkeypatch.setattr(persistence, "STATE_DIR", str(tmp_path))
    return states


def written(folder: Path) -> dict[str, Any]:
    with closing(Journal(folder / FILE)) as journal:
        return {name: json.loads(text) for name, text in journal.snapshots().items()}


def test_a_state_that_cannot_be_written_down_keeps_no_other_from_it(states: object, tmp_path: Path) -> None:
    kept = Keeper()
    with pytest.raises(ServicesNotStored) as error:
        kept.write_snapshots()
    assert error.value.services == {"sqs"}
    assert written(tmp_path)["ssm"] == {"a": "x\ud800y"}


def test_a_stop_goes_on_to_the_other_services_and_logs(
    states: dict[str, Callable[[], Any]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = Keeper()
    kept.stop()
    assert {"ssm", "dynamodb"} <= written(tmp_path).keys()
    assert "sqs" in caplog.text


def answered(kept: Keeper, headers: list[tuple[bytes, bytes]], body: bytes) -> list[Any]:
    """What is sent for a request that its service answered with 200."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": body}

    async def send(message: Any) -> None:
        sent.append(message)

    async def ask() -> None:
        receiving, sending = kept.guard({"method": "POST", "path": "/", "headers": headers}, receive, send)
        await receiving()
        await sending({"type": "http.response.start", "status": 200, "headers": []})
        await sending({"type": "http.response.body", "body": b"done"})

    asyncio.run(ask())
    return sent


FORM = (b"content-type", b"application/x-www-form-urlencoded; charset=utf-8")
STACKS = (b"authorization", b"AWS4-HMAC-SHA256 Credential=AKIA/20260101/us-east-1/cloudformation/aws4_request, x")


@pytest.mark.parametrize(
    ("action", "refused"), [("DescribeStacks", False), ("CreateStack", True), ("ListStacks&Action=CreateStack", True)]
)
def test_on_a_full_disk_only_changes_are_refused_and_say_why(
    states: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, action: str, refused: bool
) -> None:
    def full(*_: object, **__: object) -> None:
        raise NotStored("no room")

    kept = Keeper()
    monkeypatch.setattr(kept, "write_snapshots", full)
    start, body = answered(kept, [FORM, STACKS], f"Action={action}&StackName=mine".encode())
    if not refused:
        assert (start["status"], body["body"]) == (200, b"done")
        return
    assert start["status"] == 500
    assert b"<Code>InternalFailure</Code>" in body["body"]
    assert storing.CANNOT_STORE.encode() in body["body"]
    assert str(tmp_path.parent).encode() in body["body"]


@pytest.mark.parametrize(("service", "status"), [("sqs", 500), ("ssm", 200)])
def test_only_requests_to_that_service_are_refused(states: object, service: str, status: int) -> None:
    credential = f"AWS4-HMAC-SHA256 Credential=AKIA/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host"
    sent = answered(Keeper(), [(b"authorization", credential.encode())], b"")
    assert sent[0]["status"] == status


@pytest.fixture
def idle(states: dict[str, Callable[[], Any]], monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """A keeper whose last write left a metric out, at a clock that stands still; `read` is set when metrics are read.

    Its thread looks without a pause.
    """
    states.clear()
    idle = SimpleNamespace(now=1000.0, read=threading.Event(), kept=Keeper(), metrics={"m": 0})

    def metrics() -> dict[str, int]:
        idle.read.set()
        return dict(idle.metrics)

    states["cloudwatch:metrics"] = metrics
    monkeypatch.setattr(keeper, "time", SimpleNamespace(monotonic=lambda: idle.now))
    monkeypatch.setattr(keeper, "_SECONDS", 0.0)
    idle.kept.write_snapshots()
    idle.metrics["m"] = 1
    idle.kept.touch()
    idle.kept.write_snapshots()
    yield idle
    idle.kept._stopping.set()


def test_what_a_write_left_out_is_written_when_it_is_due(idle: SimpleNamespace, tmp_path: Path) -> None:
    """Also where nothing changes any more: nobody else would write it."""
    assert written(tmp_path)["cloudwatch:metrics"] == {"m": 0}
    idle.read.clear()
    idle.kept.start()
    assert not idle.read.is_set()
    idle.now += keeper._TELEMETRY_SECONDS
    assert idle.read.wait(60)
    with idle.kept._writing:  # once that write is done
        assert written(tmp_path)["cloudwatch:metrics"] == {"m": 1}
        assert not idle.kept._telemetry_waits  # nor does it write again where nothing has changed


STREAMS = (b"authorization", b"AWS4-HMAC-SHA256 Credential=AKIA/20260101/us-east-1/logs/aws4_request, x")


@pytest.mark.parametrize(
    ("operation", "value"), [("CreateLogStream", 1), ("DeleteLogStream", 1), ("PutRetentionPolicy", 0)]
)
def test_a_stream_is_written_down_with_its_answer(
    idle: SimpleNamespace, tmp_path: Path, operation: str, value: int
) -> None:
    answered(idle.kept, [STREAMS, (b"x-amz-target", f"Logs_20140328.{operation}".encode())], b"{}")
    assert written(tmp_path)["cloudwatch:metrics"] == {"m": value}
