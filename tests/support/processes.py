"""Processes of the laptop cloud, found from outside."""

from pathlib import Path

import psutil


def containers(folder: Path) -> list[psutil.Process]:
    """The programs of jobs or of instances of endpoints below a folder, without the supervisors that end them."""
    found = []
    for process in psutil.process_iter():
        try:
            base, command = process.environ().get("SAGEMAKER_BASE_DIR", ""), process.cmdline()
        except psutil.Error:
            continue
        if base.startswith(str(folder)) and not any(part.endswith("supervisor.py") for part in command):
            found.append(process)
    return found
