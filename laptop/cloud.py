"""The laptop cloud as one ASGI application: MiniStack with its gaps closed, and the local SageMaker.

Importing this imports MiniStack, which reads its settings from the environment then: `laptop.server` prepares them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from hypercorn.config import Config
from hypercorn.typing import ASGIFramework
from hypercorn.utils import LifespanFailureError
from ministack import app
from ministack.core import lambda_runtime

from laptop import faults
from laptop.account import ACCOUNT_ID, HEALTH, REGION, read_keys
from laptop.documents import Document
from laptop.door.connections import serve_bounded
from laptop.door.door import Door
from laptop.ministack_patches import (
    acknowledgements,
    authorization,
    browsers,
    call_faults,
    events,
    executions,
    installation,
    local_sagemaker,
    lost_parts,
)
from laptop.ministack_patches.deliveries import DELIVERIES
from laptop.ministack_patches.keeper import KEEPER
from laptop.sagemaker.service import SageMaker

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

log = logging.getLogger(__name__)


class Cloud:
    """The ASGI application: the admin paths under ``/_skyloop/``, and the patched MiniStack for the rest."""

    def __init__(self, home: Path, port: int, found: list[str]) -> None:
        installation.install()
        self._ministack = app.app
        inside = call_faults.failing_calls(self._route)
        secret_and_caller = (authorization.session_secret, authorization.caller)
        self._door = Door(inside, read_keys(home), port, *secret_and_caller, browsers.cors)
        self._home = home
        self._port = port
        self._found = found
        self._status = "starting"
        self._failure: Exception | None = None
        self._starting: asyncio.Task[None] | None = None
        self._sagemaker: SageMaker | None = None

    @property
    def failure(self) -> Exception | None:
        """What kept the state from being brought back."""
        return self._failure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or one message of the server's life."""
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        else:
            await self._door(scope, receive, send)

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].startswith("/_skyloop/"):
            await self._admin(scope, receive, send)
        else:
            try:
                await self._ministack(scope, *KEEPER.guard(scope, receive, send))
            except acknowledgements.NotTaken:
                for part in acknowledgements.refused(scope):
                    await send(part)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Open the local SageMaker once the port answers: restored endpoints fetch their models from it."""

        async def start_and_send(message: MutableMapping[str, Any]) -> None:
            await send(message)
            if message["type"] == "lifespan.startup.complete":
                self._starting = asyncio.create_task(self._start())

        try:
            await self._ministack(scope, receive, start_and_send)
        except Exception as error:
            if self._starting:
                raise
            # Hypercorn would serve on, and what is asked for then would be written over the state.
            log.exception("The cloud could not start")
            self._failure = error
            await send({"type": "lifespan.startup.failed", "message": str(error)})

    async def _start(self) -> None:
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", self._port)
                writer.close()
                break
            await asyncio.sleep(0.01)
        try:
            self._sagemaker = SageMaker(
                self._home,
                f"http://127.0.0.1:{self._port}",
                role_credentials=_role_credentials,
                put_event=events.put_event,
            )
            await asyncio.to_thread(self._sagemaker.start)
            local_sagemaker.provide(self._sagemaker)
            KEEPER.found += lost_parts.take_out(KEEPER.restored)
        except Exception as error:
            log.exception("The local SageMaker could not start")
            self._status = f"failed: the local SageMaker: {error}"
        else:
            self._status = "ready"
            self._found.extend(self._sagemaker.found)
            self._found.extend(DELIVERIES.resume())
            self._found.extend(f"The {item.kind} {item.name} {item.afterwards}." for item in self._sagemaker.resumed)
            self._found.extend(executions.resume())
            for sentence in [*self._found, *KEEPER.found]:
                log.warning("%s", sentence)
            KEEPER.start()

    async def stop(self) -> None:
        """End every process. Call it while the port still answers: they flush logs and captures through it."""
        if self._starting:
            await self._starting
        executions.halt()
        DELIVERIES.halt()
        if self._sagemaker:
            await asyncio.to_thread(self._sagemaker.stop)
        await asyncio.to_thread(lambda_runtime.reset)

    def _health(self) -> Document:
        return {
            "status": self._status,
            "pid": os.getpid(),
            "home": str(self._home),
            "found": [*self._found, *KEEPER.found],
            "in_progress": [asdict(item) for item in self._sagemaker.in_progress()] if self._sagemaker else [],
        }

    async def _admin(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":  # by the client, or by the door: not the body that was signed
                return
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        status = 404
        answer: Document = {"error": f"no such path: {scope['path']}"}
        match scope["method"], scope["path"]:
            case "GET", path if path == HEALTH:
                status, answer = 200, self._health()
            case "GET", "/_skyloop/faults":
                status, answer = 200, faults.current()
            case "POST", "/_skyloop/faults":
                try:
                    status, answer = 200, faults.configure(json.loads(body or b"{}"))
                except ValueError as error:
                    status, answer = 400, {"error": str(error)}
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})


def _role_credentials(role_arn: str) -> dict[str, str]:
    return authorization.session_credentials(role_arn, REGION, ACCOUNT_ID, "SageMaker")


async def serve(home: Path, descriptor: int, port: int, found: list[str]) -> None:
    """Serve the cloud on a listening socket until SIGTERM or SIGINT; `found` is what had to be put right before.

    Raises whatever keeps the state from being brought back.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    config = Config()
    config.bind = [f"fd://{descriptor}"]
    config.graceful_timeout = 1
    config.shutdown_timeout = 60
    config.loglevel = "WARNING"
    cloud = Cloud(home, port, found)

    async def stopped() -> None:
        await stop.wait()
        await cloud.stop()

    # Hypercorn has a type for each ASGI message; MiniStack knows them as plain mappings.
    try:
        await serve_bounded(cast(ASGIFramework, cloud), config, stopped)
    except LifespanFailureError as error:
        raise (cloud.failure or error) from None
