"""What S3 and SNS tell others: written down before the upload, or the publishing, is answered."""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from ministack.services import lambda_svc, s3, sns

from laptop.documents import Document
from laptop.ministack_patches.deliveries import DELIVERIES, carries, ending
from laptop.ministack_patches.patching import Original, patch

log = logging.getLogger(__name__)

_KIND, _POST = "notification", "post"


def prepare() -> None:
    """Change how MiniStack's SNS starts its deliveries (a module attribute rather than a function)."""

    def thread(*, target: Any, args: tuple[Any, ...], daemon: bool) -> Any:
        if sns._deliver_to_lambda in args:  # an invocation is asynchronous by itself, once it is written down
            return SimpleNamespace(start=lambda: target(*args))
        return threading.Thread(target=target, args=args, daemon=daemon)

    sns._threading = SimpleNamespace(Thread=thread)


@patch(
    "services.s3:_fire_s3_event_async",
    because="in MiniStack what S3 has to tell of an upload is gone when the process is killed",
    proof="test_deliveries.py::test_what_an_upload_tells_survives_a_kill",
)
def _notify_later(
    original: Original,
    bucket: str,
    key: str,
    event_name: str,
    size: int = 0,
    etag: str = "",
    deletion_type: str | None = None,
    **members: Any,
) -> None:
    if bucket not in s3._bucket_notifications:
        return
    sequencer = s3._next_event_sequencer(event_name)
    arguments = (bucket, key, event_name, size, etag, deletion_type)
    content = {"arguments": arguments, "members": {**members, "sequencer": sequencer}}
    number, context = DELIVERIES.begin(_KIND, content), contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(_notify, number, content), daemon=True)
    if (held := _held.get()) is None:
        thread.start()
    else:
        held[thread] = number


_held: contextvars.ContextVar[dict[threading.Thread, int | None] | None] = contextvars.ContextVar("held", default=None)


@contextmanager
def holding() -> Iterator[Callable[[], None]]:
    """Within it, S3 tells nothing until the function that it gives is called; what is not told then, never is.

    MiniStack tells of an object before it is stored.
    """
    held: dict[threading.Thread, int | None] = {}

    def tell() -> None:
        while held:
            held.popitem()[0].start()

    token = _held.set(held)
    try:
        yield tell
    finally:
        _held.reset(token)
        for number in held.values():
            DELIVERIES.end(number)


@carries(_KIND)
def _notify(number: int | None, content: Document) -> None:
    with ending(number):
        s3._fire_s3_event(*content["arguments"], **content["members"])


@patch(
    "services.sns:_deliver_to_http",
    because="in MiniStack what SNS has to tell a web server is gone when the process is killed",
    proof="test_deliveries.py::test_what_a_topic_tells_a_web_server_survives_a_kill",
)
def _post_later(original: Original, endpoint: str, envelope: str) -> Any:
    return _post(original, DELIVERIES.begin(_POST, {"endpoint": endpoint, "envelope": envelope}), endpoint, envelope)


async def _post(original: Original, number: int | None, endpoint: str, envelope: str) -> None:
    try:
        await original(endpoint, envelope)
    finally:
        DELIVERIES.end(number)


@carries(_POST)
def _post_again(number: int, content: Document) -> None:
    asyncio.run(sns._deliver_to_http(content["endpoint"], content["envelope"]))  # as a delivery of its own
    DELIVERIES.end(number)


@patch(
    "services.sns:_deliver_to_lambda",
    because="a topic invokes a function asynchronously: one that fails is invoked again, which MiniStack does not do",
    proof="test_lambdas.py::test_a_function_that_fails_with_a_notification_is_invoked_again",
)
def _deliver_to_function(
    original: Original, endpoint: str, envelope: str, topic_arn: str, subscription_arn: str, *rest: Any
) -> None:
    function, configuration, name = lambda_svc._get_func_record_for_ref(endpoint)
    if not function or not configuration:
        log.warning("The function %s that is subscribed to %s does not exist", name, topic_arn)
        return
    record = {
        "EventVersion": "1.0",
        "EventSubscriptionArn": subscription_arn,
        "EventSource": "aws:sns",
        "Sns": json.loads(envelope),
    }
    lambda_svc.invoke_async_with_retry(
        lambda_svc._execution_record_for_config(function, configuration), {"Records": [record]}
    )
