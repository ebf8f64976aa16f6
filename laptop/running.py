"""What ``laptop.json`` records of a laptop cloud. Imports little: every command that talks to the cloud reads it."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError

from laptop.account import HEALTH
from laptop.skyloop_plugin import COMMAND

FILE = "laptop.json"
DEFAULT_PORT = 4566
ANSWER_SECONDS = 15.0
"""A cloud that works answers how it is at once, on a busy machine within a second or two."""
STAY = b"stay\n"
"""What a server reads from its standard input once the record names it: from then on it outlives who started it."""


class RecordBroken(Exception):
    """``laptop.json`` cannot be read; ``what`` says why, ``next_step`` what to do."""

    def __init__(self, file: Path, reason: str) -> None:
        self.what = f"{file} cannot be read: {reason}"
        self.next_step = (
            f"End the cloud's server if it still runs (`pgrep -fl laptop.server` shows its process), remove the file, "
            f"then run `{COMMAND} up`. The cloud's state stays; give --parameter again where you gave it before."
        )
        super().__init__(f"{self.what}. {self.next_step}")


def _of_this_machine(url: str) -> str:
    """Requests are signed with the account's keys: they go nowhere else."""
    if not re.fullmatch(r"http://127\.0\.0\.1:\d{1,5}", url, re.ASCII):
        raise ValueError(f"{url} is not this machine")
    return url


@dataclass
class Running:
    """A cloud as ``laptop.json`` records it. ``pid`` is None once it is stopped.

    ``parameters`` are all the stack's parameters, ``given`` those that a person gave over the ones in samconfig.toml.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    endpoint_url: Annotated[str, AfterValidator(_of_this_machine)]
    pid: Annotated[int, Field(ge=1)] | None
    stack_name: str = ""
    outputs: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    given: dict[str, str] = field(default_factory=dict)

    @property
    def port(self) -> int:
        """The port on 127.0.0.1."""
        return int(self.endpoint_url.rpartition(":")[2])

    def has_ended(self) -> bool:
        """Whether its process is gone: it was killed, and nobody wrote that down."""
        return self.pid is not None and is_gone(self.pid)

    def is_silent(self) -> bool:
        """Whether something listens there and does not answer: a process that is suspended, or hangs."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_SECONDS)
        with contextlib.closing(connection):
            try:
                connection.request("GET", HEALTH)
                connection.getresponse()
            except TimeoutError:
                return True
            except (OSError, http.client.HTTPException):  # nothing listens, or another program: a request says so
                return False
        return False


def is_gone(pid: int) -> bool:
    """Whether there is no process of that number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # it is another user's process by now
        pass
    return False


_RECORD = TypeAdapter(Running)


def read(home: Path) -> Running | None:
    """The record of a home's cloud, running or stopped; None when there is none. Raises RecordBroken."""
    file = home / FILE
    try:
        return _RECORD.validate_json(file.read_bytes(), strict=True)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValidationError as error:
        first = error.errors()[0]
        where = "".join(f"{part}: " for part in first["loc"])
        raise RecordBroken(file, f"{where}{first['msg']}") from error
