"""The laptop cloud as one process on one port of 127.0.0.1.

``python -m laptop.server --home DIR --socket FD [--reason FD] [--no-auth]``; FD is an inherited socket that listens, or
an inherited pipe that takes the reason why the cloud cannot start (the disk may have no room for it), and --no-auth
turns the enforcement of role policies off. Standard input ends with the process that started this one; unless it said
before that this one is to stay, it ends as well. State lives under DIR and survives the server, however it ends; child
processes live under :mod:`laptop.processes` and do not. :mod:`laptop.lifecycle` starts and stops it for people;
:mod:`laptop.cloud` is what it serves.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import socket
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import NoReturn

from laptop.account import ACCOUNT_ID, REGION, KeysBroken, make_keys
from laptop.repair import repair
from laptop.running import STAY

_OTHER_SECONDS = 120.0  # longer than a server takes to stop


def prepare_environment(home: Path, port: int, *, auth: bool) -> None:
    """Set what MiniStack reads when it is imported, and drop the AWS settings of the user who started this process.

    A Lambda inherits the server's environment: the user's profile or endpoint would reach the functions.
    """
    for name in [
        name for name in os.environ if name.startswith(("AWS_", "LOCALSTACK_", "MINISTACK_", "LAMBDA_", "PYTHONPATH"))
    ]:
        del os.environ[name]
    scratch = home / "tmp"
    for folder in (home / "state", home / "s3", scratch):
        folder.mkdir(parents=True, exist_ok=True)
    os.environ.update(
        {
            **make_keys(home).environment(),  # MiniStack's root; functions and jobs get those of their roles instead
            "BIND_HOST": "127.0.0.1",
            "MINISTACK_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(port),
            "MINISTACK_REGION": REGION,
            "MINISTACK_ACCOUNT_ID": ACCOUNT_ID,
            "AUTH": "true" if auth else "false",
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
            # A burst leaves surplus workers behind, of a hundred megabytes each; one per function always stays.
            "LAMBDA_WARM_TTL_SECONDS": "20",
            "LOG_LEVEL": os.environ.get("LOG_LEVEL", "INFO"),
            "TMPDIR": str(scratch),
            "PYTHONDONTWRITEBYTECODE": "1",
            # There is no instance metadata service: without this, a missing credential is an error only after a wait.
            "AWS_EC2_METADATA_DISABLED": "true",
        }
    )


def main() -> None:
    """Serve until SIGTERM or SIGINT, then end the process."""
    parser = argparse.ArgumentParser(description="The laptop cloud")
    parser.add_argument("--home", type=Path, required=True, help="folder of the cloud's state")
    parser.add_argument("--socket", type=int, required=True, help="file descriptor of the listening socket")
    parser.add_argument("--reason", type=int, help="file descriptor that takes the reason of a start that fails")
    parser.add_argument("--auth", action=argparse.BooleanOptionalAction, default=True, help="enforce role policies")
    arguments = parser.parse_args()
    home = arguments.home.resolve()
    if arguments.reason is not None:
        os.set_inheritable(arguments.reason, False)
    _end_with_starter()
    listener = socket.socket(fileno=arguments.socket)
    port = listener.getsockname()[1]
    try:
        home.mkdir(parents=True, exist_ok=True)
        if not _take(home):
            _end(
                f"Another server uses {home}, which nothing here knows. End it (`pgrep -fl laptop.server`).", arguments
            )
        found = repair(home)
        prepare_environment(home, port, auth=arguments.auth)
    except OSError as error:
        _end(f"{home} cannot be written to: {error}. Make room, or give yourself the right to write there.", arguments)
    except KeysBroken as error:
        _end(f"{error}. Remove it; the next start makes new keys.", arguments)
    try:
        # Not at the top: this imports MiniStack, which reads its settings from the environment when it is imported.
        from laptop import cloud

        asyncio.new_event_loop().run_until_complete(cloud.serve(home, listener.detach(), port, found))
    except Exception as error:
        with contextlib.suppress(OSError):
            traceback.print_exc()
        kind = "" if isinstance(error, OSError) else f"{type(error).__name__}: "
        _end(f"{home} cannot be used: {kind}{error}.", arguments)
    # The state is saved. Threads that still wait in MiniStack must not keep this process alive.
    logging.shutdown()
    os._exit(0)


def _end_with_starter() -> None:
    """End this process, as `down` would, when standard input ends before it said that this process is to stay."""
    lifeline = os.dup(0)  # not inherited
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)  # the processes that are started here inherit this one

    def watch() -> None:
        said = b""
        while chunk := os.read(lifeline, len(STAY)):
            said += chunk
        os.close(lifeline)
        if said != STAY:
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()


def _take(home: Path) -> bool:
    """Make this process the only server of a home, once another one has ended; False when it does not end.

    Two servers would each write down their own half of the state. The lock ends with this process.
    """
    lock = os.open(home / "server.lock", os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + _OTHER_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        else:
            return True


def _end(reason: str, arguments: argparse.Namespace) -> NoReturn:
    """End the process at once, and say why: to who started it, and in the log."""
    reason = " ".join(reason.split())
    with contextlib.suppress(OSError):
        if arguments.reason is not None:
            os.write(arguments.reason, reason.encode(errors="replace")[:4096])  # a pipe takes that without a reader
    with contextlib.suppress(OSError):
        print(reason, file=sys.stderr, flush=True)
    os._exit(1)


if __name__ == "__main__":
    main()
