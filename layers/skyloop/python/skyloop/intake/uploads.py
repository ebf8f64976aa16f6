"""Messages that say "an object was uploaded", in the shapes that reach the uploads queue."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import BaseModel, ConfigDict, Field

from skyloop.documents import JsonObject, parse_json
from skyloop.layout import check_name, notification_key


class Upload(BaseModel):
    """An uploaded object. The key is the real one, decoded where the message had it encoded."""

    model_config = ConfigDict(frozen=True)

    bucket: str = Field(min_length=1)
    key: str = Field(min_length=1)


def uploads_in(body: str) -> list[Upload]:
    """The uploads that a queue message names.

    It reads EventBridge's `Object Created` (raw key), which the sweep also sends, and classic S3 notifications (encoded
    keys), in case a bucket sends to the queue directly. S3's test message names none. Raises ValueError for anything
    else.
    """
    message = parse_json(body)
    if not isinstance(message, dict):
        raise ValueError("an upload message is a JSON object")
    try:
        if "detail" in message:
            return [_upload(message["detail"], lambda key: key)]
        if message.get("Event") == "s3:TestEvent":
            return []
        if "Records" in message:
            created = [record for record in message["Records"] if "ObjectCreated" in record["eventName"]]
            return [_upload(record["s3"], notification_key) for record in created]
    except (KeyError, TypeError) as error:
        raise ValueError(f"an S3 event without bucket or key: {body[:200]}") from error
    raise ValueError(f"neither an S3 event nor a notification: it has {', '.join(sorted(message)) or 'no fields'}")


def object_created(bucket: str, key: str, size: int) -> JsonObject:
    """An upload message as S3 sends it through EventBridge, for an object whose own event never came."""
    return {
        "version": "0",
        "source": "skyloop",
        "detail-type": "Object Created",
        "detail": {"version": "0", "bucket": {"name": bucket}, "object": {"key": key, "size": size}, "reason": "Sweep"},
    }


def _upload(detail: JsonObject, decode: Callable[[str], str]) -> Upload:
    upload = Upload(bucket=detail["bucket"]["name"], key=decode(detail["object"]["key"]))
    check_name("its key", upload.key)
    return upload
