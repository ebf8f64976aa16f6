"""The laptop cloud as one process: MiniStack with its gaps closed, and the local SageMaker, on one port of 127.0.0.1.

``python -m laptop.server --home DIR --socket FD``; FD is an inherited socket that listens. State lives under DIR and
survives a clean stop (SIGTERM or SIGINT); child processes live under :mod:`laptop.processes` and do not survive the
server, however it ends.
:mod:`laptop.lifecycle` starts and stops it for people.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import shutil
import signal
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

ACCOUNT_ID = "000000000000"
REGION = "us-east-1"

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

log = logging.getLogger("skyloop")


def prepare_environment(home: Path, port: int) -> None:
    """Set what MiniStack reads when it is imported, and forget the AWS settings of whoever started this process.

    A Lambda inherits the server's environment, so a profile or an endpoint of the user's would reach the functions.
    """
    for name in [
        name for name in os.environ if name.startswith(("AWS_", "LOCALSTACK_", "MINISTACK_", "LAMBDA_", "PYTHONPATH"))
    ]:
        del os.environ[name]
    scratch = home / "tmp"
    shutil.rmtree(scratch, ignore_errors=True)  # unpacked functions of a server that was killed
    for folder in (home / "state", home / "s3", scratch):
        folder.mkdir(parents=True, exist_ok=True)
    os.environ.update(
        {
            "BIND_HOST": "127.0.0.1",
            "MINISTACK_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(port),
            "MINISTACK_REGION": REGION,
            "MINISTACK_ACCOUNT_ID": ACCOUNT_ID,
            "AUTH": os.environ.get("AUTH", "true"),
            "PERSIST_STATE": "1",
            "STATE_DIR": str(home / "state"),
            "S3_PERSIST": "1",
            "S3_DATA_DIR": str(home / "s3"),
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            # Never a container engine, even where one runs: Lambdas are processes of this machine.
            "DOCKER_HOST": f"unix://{home / 'no-container-engine.sock'}",
            "LAMBDA_EXECUTOR": "local",
            "LAMBDA_ASYNC_RETRY_BASE_SECONDS": "1",
            # A burst leaves surplus workers behind, of a hundred megabytes each; one of each function always stays.
            "LAMBDA_WARM_TTL_SECONDS": "20",
            "LOG_LEVEL": os.environ.get("LOG_LEVEL", "INFO"),
            "TMPDIR": str(scratch),
            "PYTHONDONTWRITEBYTECODE": "1",
            # There is no instance metadata service here: a missing credential is to be an error at once.
            "AWS_EC2_METADATA_DISABLED": "true",
        }
    )


class Cloud:
    """The ASGI application: the admin paths under ``/_skyloop/``, and MiniStack with the hooks in for the rest."""

    def __init__(self, home: Path, port: int) -> None:
        from ministack import app

        from laptop import ministack_patches

        ministack_patches.install()
        self._ministack = app.app
        self._home = home
        self._port = port
        self._status = "starting"
        self._starting: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        elif scope["type"] == "http" and scope["path"].startswith("/_skyloop/"):
            await self._admin(scope, receive, send)
        else:
            await self._ministack(scope, receive, send)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Open the local SageMaker once the port answers: restored endpoints fetch their models from it."""

        async def start_and_send(message: MutableMapping[str, Any]) -> None:
            await send(message)
            if message["type"] == "lifespan.startup.complete":
                self._starting = asyncio.create_task(self._start())

        await self._ministack(scope, receive, start_and_send)

    async def _start(self) -> None:
        from laptop.ministack_patches import executions
        from laptop.sagemaker import service

        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", self._port)
                writer.close()
                break
            await asyncio.sleep(0.01)
        try:
            await asyncio.to_thread(service.start, self._home, f"http://127.0.0.1:{self._port}")
        except Exception as error:
            log.exception("The local SageMaker could not start")
            self._status = f"failed: {error}"
        else:
            self._status = "ready"
            executions.resume()

    async def stop(self) -> None:
        """End every process. To be called while the port still answers: they flush logs and captures through it."""
        from ministack.core import lambda_runtime

        from laptop.ministack_patches import executions
        from laptop.sagemaker import service

        if self._starting:
            await self._starting
        executions.halt()
        try:
            await asyncio.to_thread(service.stop)
        except Exception:
            log.exception("The local SageMaker could not stop in order")
        await asyncio.to_thread(lambda_runtime.reset)

    async def _admin(self, scope: Scope, receive: Receive, send: Send) -> None:
        from laptop import faults

        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        status, answer = 404, {"error": f"no such path: {scope['path']}"}
        match scope["method"], scope["path"]:
            case "GET", "/_skyloop/health":
                status, answer = 200, {"status": self._status, "pid": os.getpid(), "home": str(self._home)}
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


async def _serve(home: Path, descriptor: int, port: int) -> None:
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    config = Config()
    config.bind = [f"fd://{descriptor}"]
    config.keep_alive_timeout = 75
    config.graceful_timeout = 1
    config.shutdown_timeout = 60
    config.loglevel = "WARNING"
    cloud = Cloud(home, port)

    async def stopped() -> None:
        await stop.wait()
        await cloud.stop()

    await serve(cloud, config, shutdown_trigger=stopped)


def main() -> None:
    parser = argparse.ArgumentParser(description="The laptop cloud")
    parser.add_argument("--home", type=Path, required=True, help="folder of the cloud's state")
    parser.add_argument("--socket", type=int, required=True, help="file descriptor of the listening socket")
    arguments = parser.parse_args()
    home = arguments.home.resolve()
    home.mkdir(parents=True, exist_ok=True)
    listener = socket.socket(fileno=arguments.socket)
    port = listener.getsockname()[1]
    prepare_environment(home, port)
    asyncio.new_event_loop().run_until_complete(_serve(home, listener.detach(), port))
    # The state is saved. Threads that wait in MiniStack for something that will not come must not keep this process.
    logging.shutdown()
    os._exit(0)


if __name__ == "__main__":
    main()
