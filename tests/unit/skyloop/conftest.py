"""A stack for the tests of the layer's edges and of the functions, in moto."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from moto import mock_aws
from moto.dynamodb.models import DynamoDBBackend
from skyloop.aws.catalogue import Catalogue
from skyloop.aws.clients import client
from skyloop.aws.settings import Settings
from skyloop.aws.state import StateTable
from skyloop.aws.storage import Storage
from skyloop.dataset.conversion import Conversion
from skyloop.documents import CatalogueItem
from skyloop.formats.groundtruth import label_category_config
from skyloop.layout import LABEL_CATEGORIES, queue_order

from tests.support.account import BUCKET, Context, create_stack, load_handler, set_environment
from tests.support.files import stored_event
from tests.support.labeled_lines import JOB
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


@pytest.fixture
def categories(storage):
    storage.write_json(LABEL_CATEGORIES, label_category_config(["person", "car"]))


@pytest.fixture
def dropped(storage, catalogue):
    """Put a picture in the bucket and in the catalogue, claimed by the job; its manifest line without labels."""

    def drop(key: str, body: bytes, **changes: Any) -> dict[str, Any]:
        image_id, now = hashlib.sha256(body).hexdigest(), datetime(2026, 11, 23, 12, tzinfo=UTC)
        storage.write(key, body)
        facts: dict[str, Any] = {
            "image_id": image_id,
            "status": "LABELING",
            "queue_order": queue_order(False, now, image_id),
            "key": key,
            "flight": key.split("/")[1],
            "correlation_id": "north",
            "catalogued_at": now,
            "labeling_job": JOB,
        }
        catalogue.add(CatalogueItem(**{**facts, **changes}))
        return {"source-ref": f"s3://{BUCKET}/{key}", "image-id": image_id, "flight": key.split("/")[1]}

    return drop


@pytest.fixture
def convert(storage, categories):
    """Write a manifest of these items, texts as they are, and convert it whole, or a part of it."""

    def run(*items: Any, **changes: int) -> dict[str, Any]:
        lines = [item if isinstance(item, str) else json.dumps(item) for item in items]
        uri = storage.write(f"ground-truth-jobs/{JOB}/output.manifest", "\n".join(lines).encode())
        event = {**stored_event("convert_labels"), "manifest_uri": uri, **changes}
        return load_handler("convert_labels").handler(event, Context())

    return run


@pytest.fixture
def settle(storage, catalogue):
    """What happens once all parts are converted."""
    return lambda: Conversion(storage, catalogue).settle(JOB)
