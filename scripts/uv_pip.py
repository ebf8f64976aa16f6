"""Run `uv pip ARGUMENTS` with the indexes that pip is configured for: uv does not read pip's configuration.

    VENV/bin/python scripts/uv_pip.py install ARGUMENTS…

Exits with 3, and installs nothing, where pip's configuration holds an option that has no translation here: a mirror
behind a proxy must not be passed by. The caller then uses pip.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

UNTRANSLATED = 3
LISTS = {"index-url": "--index-url", "extra-index-url": "--extra-index-url", "find-links": "--find-links",
         "constraint": "--constraint"}  # fmt: skip
WITHOUT_EFFECT = {
    "break-system-packages", "cache-dir", "default-timeout", "disable-pip-version-check", "no-cache-dir", "no-color",
    "no-input", "no-python-version-warning", "no-warn-script-location", "progress-bar", "quiet", "require-virtualenv",
    "retries", "root-user-action", "timeout", "verbose",
}  # fmt: skip


def translate(listing: str) -> tuple[list[str], dict[str, str]] | None:
    """Options and environment of uv for what `pip config list` printed, or None where something is left over.

    pip looks for the best version in all indexes; uv would stop at the first index that has the package.
    """
    options, environment = ["--index-strategy", "unsafe-best-match"], {}
    for line in listing.splitlines():
        name, equal, value = line.partition("=")
        section, _, key = name.rpartition(".")
        if section not in {"global", "install", ":env:"} or key in WITHOUT_EFFECT:
            continue
        if not equal or key not in {*LISTS, "cert"}:
            return None
        text = str(ast.literal_eval(value))
        if key == "cert":
            environment["SSL_CERT_FILE"] = text
        else:
            options += [word for item in text.split() for word in (LISTS[key], item)]
    return options, environment


def main() -> int:
    folder = Path(sys.executable).parent
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    translated = translate(listing)
    if translated is None:
        return UNTRANSLATED
    options, environment = translated
    # pip compiles what it installs. uv leaves it to the first import, which is faster, unless that may not write.
    compiled = ["--compile-bytecode"] if os.environ.get("PYTHONDONTWRITEBYTECODE") else []
    command = [str(folder / "uv"), "pip", *sys.argv[1:], *options, *compiled]
    return subprocess.run(command, env={**os.environ, **environment}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
