"""The files of a model's INT8 network: what `quantize` wrote, and nothing else, is read."""

import hashlib
from pathlib import Path

from ..card import read
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
        JobError: model.json is damaged.
        OSError: a file is missing.
    """
    card = read(model_dir)
    if card.int8 is None:
        raise EngineMissing("this model has no INT8 network: the log of its training says why")
    for name, found in digests(model_dir).items():
        if card.int8.sha256.get(name) != found:
            raise EngineMissing(f"{name} is not the file that the training wrote")
    return model_dir / XML
