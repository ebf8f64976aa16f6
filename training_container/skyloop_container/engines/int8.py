"""The files of a model's INT8 network: what `quantize` wrote, and nothing else, is read."""

import hashlib
import json
from pathlib import Path

from .base import EngineMissing

XML, BIN = "model-int8.xml", "model-int8.bin"
"""OpenVINO's own format: the network, and its numbers."""


def digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of either file, in hexadecimal, for model.json. Raises OSError."""
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in (XML, BIN)}


def intact(model_dir: Path) -> Path:
    """Where OpenVINO is to read the network. A few changed bytes of it could pass for rounding: so digests decide.

    Raises:
        EngineMissing: the model has none, or a file is not the one that model.json knows.
        OSError: a file is missing.
    """
    card = json.loads((model_dir / "model.json").read_text(encoding="utf-8"))
    if "int8" not in card:
        raise EngineMissing("this model has no INT8 network: the log of its training says why")
    found = digests(model_dir)
    for name, known in card["int8"]["sha256"].items():
        if found.get(name) != known:
            raise EngineMissing(f"{name} is not the file that the training wrote")
    return model_dir / XML
