"""A stack for the tests of the layer's edges and of the functions, in moto."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from moto import mock_aws
from moto.dynamodb.models import DynamoDBBackend
from skyloop.aws.catalogue import Catalogue
from skyloop.aws.clients import client
from skyloop.aws.settings import Settings
from skyloop.aws.state import StateTable
from skyloop.aws.storage import Storage

from tests.support.account import create_stack, set_environment
from tests.support.watched_endpoint import WINDOW, World


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Bucket, tables, queue and topic, and the environment that names them."""
    set_environment(monkeypatch)
    _write_items_one_at_a_time(monkeypatch)
    with mock_aws():
        create_stack()
        yield Settings.from_environment()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """An endpoint that is watched for drift."""
    set_environment(monkeypatch, SKYLOOP_DRIFT_WINDOW=str(WINDOW))
    with mock_aws():
        create_stack()
        yield World(monkeypatch)


@pytest.fixture
def storage(stack: Settings) -> Storage:
    return Storage(client("s3"), stack.data_bucket)


@pytest.fixture
def catalogue(stack: Settings) -> Catalogue:
    return Catalogue(client("dynamodb"), stack.catalogue_table)


@pytest.fixture
def state(stack: Settings) -> StateTable:
    return StateTable(client("dynamodb"), stack.state_table)


def _write_items_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no write come between another's condition and its effect, as DynamoDB promises and moto does not."""
    turn = threading.RLock()

    def in_turn(write: Callable[..., Any]) -> Callable[..., Any]:
        def written(*arguments: Any, **options: Any) -> Any:
            with turn:
                return write(*arguments, **options)

        return written

    for name in ("put_item", "update_item", "delete_item", "transact_write_items"):
        monkeypatch.setattr(DynamoDBBackend, name, in_turn(getattr(DynamoDBBackend, name)))
