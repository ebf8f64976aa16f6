"""How the benches start this container's `serve`."""

import os
import shutil
import socket
from pathlib import Path

HOST = "127.0.0.1"


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    return port


def environment(model: Path, folder: Path, port: int) -> dict[str, str]:
    """The environment of `python -m skyloop_container serve` for a copy of a model below an empty folder."""
    shutil.copytree(model, folder / "model")
    return {
        **os.environ,
        "SAGEMAKER_BASE_DIR": str(folder),
        "SAGEMAKER_BIND_TO_PORT": str(port),
        "SKYLOOP_BIND_HOST": HOST,
    }
