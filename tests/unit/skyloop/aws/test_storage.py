"""skyloop.aws.storage: objects in and out, with any key."""

from __future__ import annotations

import hashlib
import io
from typing import Any

import pytest
from botocore.exceptions import ClientError, IncompleteReadError
from botocore.response import StreamingBody
from botocore.stub import Stubber
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from skyloop.aws.clients import client
from skyloop.aws.storage import CHUNK_BYTES, Digest, ObjectMissing, ObjectTooLarge, Storage, parse_s3_uri, s3_uri

KEY = "a b/c+d %2F é 😀/e?f#g&h=i.jpg"


@given(st.from_regex(r"[a-z0-9][a-z0-9.-]{2,20}", fullmatch=True), st.text(max_size=50))
def test_uris_round_trip(bucket, key):
    assert parse_s3_uri(s3_uri(bucket, key)) == (bucket, key)


@pytest.mark.parametrize("uri", ["", "bucket/key", "https://bucket/key", "s3:/bucket/key", "s3:///key", "s3://"])
def test_other_uris_are_refused(uri):
    with pytest.raises(ValueError, match="not an S3 URI"):
        parse_s3_uri(uri)


def test_what_is_written_is_read(storage):
    uri = storage.write(KEY, b"0123456789", content_type="image/jpeg", metadata={"priority": "drift"})
    stored = storage.read(storage.key_of(uri))
    assert (stored.body, stored.content_type, stored.metadata) == (b"0123456789", "image/jpeg", {"priority": "drift"})
    assert storage.summary(KEY).size == 10


def test_a_copy_keeps_everything(storage):
    storage.write(KEY, b"body", content_type="image/png", metadata={"correlation-id": "x"})
    storage.copy(KEY, f"quarantine/{KEY}")
    copied = storage.read(f"quarantine/{KEY}")
    assert (copied.body, copied.content_type, copied.metadata) == (b"body", "image/png", {"correlation-id": "x"})


def test_what_is_missing_is_said_to_be(storage):
    for look in (storage.read, storage.summary, storage.digest, storage.read_json, lambda key: storage.copy(key, "b")):
        with pytest.raises(ObjectMissing, match="nowhere"):
            look("nowhere")
    assert storage.read_json_if_there("nowhere") is None


def test_other_errors_stay_what_they_are(stack):
    with pytest.raises(ClientError, match="NoSuchBucket"):
        Storage(client("s3"), "another-bucket").read("key")


def test_too_large_is_not_read(storage):
    storage.write("key", bytes(11))
    assert len(storage.read("key", at_most=11).body) == 11
    with pytest.raises(ObjectTooLarge) as caught:
        storage.read("key", at_most=10)
    assert caught.value.size == 11


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(
    st.lists(st.binary(max_size=12).map(lambda line: line.replace(b"\n", b"").replace(b"\r", b"")), max_size=12),
    st.integers(1, 9),
    st.booleans(),
)
def test_every_line_is_in_exactly_one_part(storage, lines, parts, ends):
    body = b"\n".join(lines) + (b"\n" if ends and lines else b"")
    storage.write("lines", body)
    found = [line for part in range(parts) for line in storage.lines_of_part("lines", part, parts)]
    assert found == body.removesuffix(b"\n").split(b"\n") if body else found == []


def test_a_digest_is_that_of_the_whole_body(storage):
    for body in (b"", b"x" * (CHUNK_BYTES + 1)):
        storage.write("key", body)
        assert storage.digest("key") == Digest(hashlib.sha256(body).hexdigest(), storage.read("key").etag)


def test_a_body_that_breaks_off_has_no_digest(storage):
    with Stubber(storage.client) as stub:
        stub.add_response("get_object", {"Body": StreamingBody(io.BytesIO(b"half of "), 16)})
        with pytest.raises(IncompleteReadError):
            storage.digest("key")


def test_json(storage):
    storage.write_json("document.json", {"b": "é", "a": [1, None]})
    assert storage.read("document.json").body.decode() == '{\n "a": [\n  1,\n  null\n ],\n "b": "é"\n}'
    assert storage.read_json("document.json") == {"a": [1, None], "b": "é"}
    storage.write("broken.json", b"{")
    with pytest.raises(ValueError, match=r"broken.json is not JSON"):
        storage.read_json("broken.json")


def test_another_buckets_uri_is_refused(storage):
    with pytest.raises(ValueError, match="not in bucket"):
        storage.key_of("s3://elsewhere/key")


def test_a_listing_goes_on_after_a_key(storage):
    names = ["a", "a.jpg", "a/b", "é", "😀"]
    for name in names:
        storage.write(f"data/{name}", b"x")
    for number, name in enumerate(names):
        [page] = storage.pages("data/", f"data/{name}")
        assert [one.key for one in page.objects] == [f"data/{later}" for later in names[number + 1 :]]
        assert page.is_last
    [nothing] = storage.pages("nowhere/")
    assert (nothing.objects, nothing.is_last) == ([], True)


def test_listings_go_on_past_a_page(storage):
    def small_pages(params: dict[str, Any], **_: Any) -> None:
        params["MaxKeys"] = 3

    for number in range(8):
        storage.write(f"data/{number}/x", b"")
    storage.write("data/loose", b"")
    hooks = storage.client.meta.events
    hooks.register("before-parameter-build.s3.ListObjectsV2", small_pages, unique_id="pages")
    try:
        assert len(list(storage.listing("data/"))) == 9
        assert list(storage.folders("data/")) == [f"data/{number}/" for number in range(8)]
    finally:
        hooks.unregister("before-parameter-build.s3.ListObjectsV2", unique_id="pages")
