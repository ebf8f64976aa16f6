"""What one service cannot have written down is no other's loss."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from ministack.core import persistence

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


@pytest.mark.parametrize(("service", "status"), [("sqs", 500), ("ssm", 200)])
def test_only_requests_to_that_service_are_refused(states: object, service: str, status: int) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message["status"])

    credential = f"AWS4-HMAC-SHA256 Credential=AKIA/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host"
    scope = {"method": "POST", "path": "/", "headers": [(b"authorization", credential.encode())]}
    sending = Keeper().guard(scope, send)
    asyncio.run(sending({"type": "http.response.start", "status": 200}))  # type: ignore[arg-type]
    assert sent == [status]
