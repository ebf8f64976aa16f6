"""Container images as programs on this machine: from an image URI to a folder with a Dockerfile, and to a command.

No container engine is needed: an image is run as its ENTRYPOINT with its ENV, from the folder its WORKDIR is copied
from, with this interpreter in place of the image's `python3`.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from laptop.documents import Document
from laptop.skyloop_plugin import image_folder

# What a process needs of this machine. A container sees nothing of the host. The program sees no more than it needs to
# find its interpreter's libraries, a scratch folder, certificates and the way out to the internet.
_HOST_VARIABLES = (
    "PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE",
)  # fmt: skip


class ImageNotFound(Exception):
    """No folder on this machine stands for the image."""


@dataclass(frozen=True)
class Program:
    """An image that can be run here: `entrypoint` as in the Dockerfile, `folder` in place of `workdir`."""

    folder: Path
    workdir: str
    entrypoint: tuple[str, ...]
    variables: dict[str, str]

    def command(self, arguments: Sequence[str], entrypoint: Sequence[str] | None = None) -> list[str]:
        """The command line on this machine for the arguments the image is run with (`train`, `serve`, …).

        `entrypoint` replaces the image's own, as `ContainerEntrypoint` does.
        """
        words = [*(entrypoint or self.entrypoint), *arguments]
        if words and Path(words[0]).name in ("python", "python3"):
            words[0] = sys.executable
        return [self._here(word) for word in words]

    def environment(self) -> dict[str, str]:
        """What the process starts with before the service adds its own: a few of the host's, then the image's ENV."""
        host = {name: os.environ[name] for name in _HOST_VARIABLES if name in os.environ}
        return {**host, **{name: self._here(value) for name, value in self.variables.items() if name != "PATH"}}

    def _here(self, word: str) -> str:
        return word.replace(self.workdir, str(self.folder)) if self.workdir not in ("", "/") else word


def repository(image_uri: str) -> str:
    """The repository of an image URI, without registry, tag and digest: `host/team/name:1` -> `team/name`."""
    name = image_uri.partition("@")[0]
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        name = rest
    return name.partition(":")[0]


def resolve(image_uri: str, folders: Document) -> Program:
    """The program of an image: this project's own, or one that `folders` names {repository: folder}.

    Raises ImageNotFound.
    """
    name = repository(image_uri)
    registered = folders.get(name)
    folder = Path(registered) if registered else image_folder(name)
    dockerfile = folder / "Dockerfile" if folder else None
    if folder is None or dockerfile is None or not dockerfile.is_file():
        raise ImageNotFound(image_uri)
    return _parse(folder.resolve(), dockerfile.read_text(encoding="utf-8"))


def _parse(folder: Path, dockerfile: str) -> Program:
    """Read WORKDIR, ENTRYPOINT and ENV of the last stage, and of those it is built from.

    The other instructions build the image and are not run.
    """
    stages: dict[str, _Stage] = {}
    stage = _Stage()
    for line in re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n", "", dockerfile)).splitlines():
        instruction, _, rest = line.strip().partition(" ")
        rest = rest.strip()
        match instruction.upper():
            case "FROM":
                image, *name = [word for word in rest.split() if not word.startswith("--") and word.upper() != "AS"]
                before = stages.get(image.lower(), _Stage())
                stage = replace(before, variables=dict(before.variables))
                stages |= {word.lower(): stage for word in name}
            case "WORKDIR":
                stage.workdir = rest.rstrip("/") or "/"
            case "ENTRYPOINT":
                stage.entrypoint = tuple(json.loads(rest)) if rest.startswith("[") else ("/bin/sh", "-c", rest)
            case "ENV":
                pairs = (pair.partition("=") for pair in shlex.split(rest))
                stage.variables.update((name, value) for name, equals, value in pairs if equals)
    return Program(folder, stage.workdir, stage.entrypoint, stage.variables)


@dataclass
class _Stage:
    workdir: str = "/"
    entrypoint: tuple[str, ...] = ()
    variables: dict[str, str] = field(default_factory=dict)
