"""A stack for the tests of the layer's edges and of the functions, in moto."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from moto import mock_aws
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
