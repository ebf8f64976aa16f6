"""Read a channel: whole pictures and the boxes on them. What cannot be used is left out, each with its reason."""

import gzip
import math
import posixpath
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from skyloop.formats.pictures import (
    MAX_ASPECT,
    MAX_PIXELS,
    READABLE,
    ImageRefused,
    Picture,
    RadiometricWindow,
    open_picture,
)

from .environment import JobError, available_cores

MOST_DROPPED = 0.5
"""Of a channel's pictures: where more cannot be used, the channel itself is wrong, and a result would mean little."""

LABELS = ("*.jsonl", "*.jsonl.gz")

MAX_SIDE = math.isqrt(MAX_PIXELS * MAX_ASPECT)
"""Pixels: no picture that is read is longer."""

T = TypeVar("T")
Factor = Callable[[int, int], int]
"""By what a picture's sides, in pixels, may be divided as it is read: 1, 2, 4 or 8. See `SlicingPlan.factor`."""
Box = tuple[int, float, float, float, float]
"""Category id, and left, top, width, height in pixels of the upright picture."""


class Line(BaseModel):
    """A line of a channel's labels: one picture, upright `width` x `height`, and its boxes.

    `image` is the picture's path below the channel; of a dataset of Skyloop, its key in the bucket.
    """

    model_config = ConfigDict(frozen=True)

    image: str
    width: int = Field(ge=1, le=MAX_SIDE)
    height: int = Field(ge=1, le=MAX_SIDE)
    flight: str = ""
    boxes: tuple[tuple[int, float, float, float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """A picture, `width` x `height` when upright, and its boxes. `name` is its path below the channel, with slashes."""

    name: str
    path: Path
    width: int
    height: int
    flight: str
    boxes: tuple[Box, ...]


@dataclass(frozen=True, slots=True)
class Frame:
    """The pixels of a picture that were read, (h, w, 3) uint8 RGB, upright, and its own width and height."""

    pixels: np.ndarray
    size: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Dropped:
    """A picture that was left out, by its name as in Sample, and why."""

    name: str
    reason: str

    def as_dict(self) -> dict[str, str]:
        """As the documents of a job list it."""
        return {"name": self.name, "reason": self.reason}


def read_channel(folder: Path, categories: int) -> tuple[list[Sample], list[Dropped]]:
    """Read the labels of a channel: every line of its files LABELS, one picture each. See `Line`.

    Args:
        folder: a training channel or processing input.
        categories: the number of categories; ids run from 0.

    Returns:
        Samples sorted by name, and what was left out because its labels cannot be used: one bad item must not end the
        job, nor every later one with the same test set. A picture with lines that say the same is there once, and one
        with lines that differ is left out, for nothing tells which is true. A picture without boxes is a true negative.
        No picture is opened yet: see `with_pictures`.

    Raises:
        JobError: there are no labels, they cannot be read, or more than half cannot be used; the text says which.
    """
    samples: dict[str, Sample] = {}
    places: dict[str, str] = {}
    differ: dict[str, Dropped] = {}
    dropped: list[Dropped] = []
    try:
        for where, line in _lines(folder):
            try:
                sample = _sample(folder, line, categories)
            except ValueError as error:
                dropped.append(Dropped(where, _sentence(error)))
                continue
            name = sample.name
            if samples.setdefault(name, sample) != sample:
                differ[name] = Dropped(name, f"{places[name]} and {where} say different things of it")
            places.setdefault(name, where)
    except (OSError, EOFError) as error:
        raise JobError(f"The labels of the channel '{folder.name}' cannot be read: {error}.") from error
    if not samples and not dropped:
        raise JobError(f"The channel '{folder.name}' holds no labels (looked for {' and '.join(LABELS)}).")
    total = len(samples) + len(dropped)
    dropped += differ.values()
    _refuse_most_dropped(folder.name, dropped, total)
    return [samples[name] for name in sorted(samples.keys() - differ)], dropped


def with_pictures(
    channel: str,
    samples: Sequence[Sample],
    window: RadiometricWindow | None,
    work: Callable[[Sample, np.ndarray], T],
    factor: Factor = lambda *_: 1,
) -> tuple[list[tuple[Sample, T]], list[Dropped]]:
    """Do something with every picture, on all cores; what cannot be read is left out.

    Args:
        channel: its name, for errors.
        samples: whose pictures.
        window: through which they are seen: see `decode`.
        work: is given the sample and its picture, (height, width, 3) uint8 RGB, upright.
        factor: by what the sides of that are divided.

    Returns:
        The samples that could be read, in order, each with what came of the work; and the others.

    Raises:
        JobError: more than half of the pictures cannot be used; the text names the first.
    """

    def do(sample: Sample, data: bytes) -> T | Dropped:
        picture = decoded(sample, data, window, factor)
        return picture if isinstance(picture, Dropped) else work(sample, picture)

    return with_files(channel, samples, do)


def with_files(
    channel: str, samples: Sequence[Sample], work: Callable[[Sample, bytes], T | Dropped]
) -> tuple[list[tuple[Sample, T]], list[Dropped]]:
    """As `with_pictures`, but the work is given the content of the file, and may leave the picture out itself."""

    def do(sample: Sample) -> T | Dropped:
        try:
            data = sample.path.read_bytes()
        except OSError as error:
            return Dropped(sample.name, str(error))
        return work(sample, data)

    with ThreadPoolExecutor(available_cores()) as pool:
        done = list(zip(samples, pool.map(do, samples), strict=True))
    dropped = [result for _, result in done if isinstance(result, Dropped)]
    _refuse_most_dropped(channel, dropped, len(samples))
    return [(sample, result) for sample, result in done if not isinstance(result, Dropped)], dropped


def decoded(sample: Sample, data: bytes, window: RadiometricWindow | None, factor: Factor) -> np.ndarray | Dropped:
    """The pixels in a file as `with_pictures` gives them; or why they cannot be those of the sample."""
    try:
        frame = read_frame(opened(data), window, factor)
    except ImageRefused as error:
        return Dropped(sample.name, str(error))
    width, height = frame.size
    if (width, height) != (sample.width, sample.height):
        sizes = f"{width} x {height}, its labels are for {sample.width} x {sample.height}"
        return Dropped(sample.name, f"it is {sizes}")
    return frame.pixels


def spread(samples: list[T], limit: int) -> list[T]:
    """At most `limit` samples, or their numbers, evenly spaced, so that every flight is represented."""
    if len(samples) <= limit:
        return samples
    return [samples[i] for i in np.linspace(0, len(samples) - 1, limit).astype(int)]


def report_dropped(channel: str, dropped: list[Dropped], say: Callable[[str], None] = print) -> None:
    """A line for each picture that was left out."""
    for item in dropped:
        say(f"left out of {channel}: {item.name}: {item.reason}")


def read_image(sample: Sample, window: RadiometricWindow | None) -> np.ndarray:
    """The sample's picture as (height, width, 3) uint8 RGB, upright: see `decode`. Raises ImageRefused, OSError."""
    return decode(sample.path.read_bytes(), window)


def decode(data: bytes, window: RadiometricWindow | None) -> np.ndarray:
    """An image file as (height, width, 3) uint8 RGB, upright. Raises ImageRefused.

    window: the model's, for gray of sixteen bits; without one the depth of each picture decides. Others do not change.
    """
    return read_frame(opened(data), window, lambda *_: 1).pixels


def opened(data: bytes) -> Picture:
    """An image file that training, evaluation and serving can read, not decoded yet. Raises ImageRefused."""
    return open_picture(data, READABLE)


def read_frame(picture: Picture, window: RadiometricWindow | None, factor: Factor) -> Frame:
    """As `decode`, but with no more pixels than are needed: `factor` says by what the sides are divided."""
    pixels = np.asarray(picture.decode(window, factor(picture.width, picture.height)))
    return Frame(pixels, picture.displayed)


def _lines(folder: Path) -> Iterator[tuple[str, bytes]]:
    for file in sorted(path for pattern in LABELS for path in folder.rglob(pattern)):
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield f"line {number} of {file.relative_to(folder).as_posix()}", line


def _sample(folder: Path, text: bytes, categories: int) -> Sample:
    """Raises ValueError where a line cannot be used."""
    line = Line.model_validate_json(text)
    name = posixpath.normpath(line.image)
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{line.image} leads out of the channel")
    if line.width * line.height > MAX_PIXELS:
        most = f"no more than {MAX_PIXELS / 1e6:.0f} megapixels are read"
        raise ValueError(f"a picture of {line.width} x {line.height}: {most}")
    boxes = []
    for category, left, top, width, height in line.boxes:
        if not 0 <= category < categories:
            raise ValueError(f"Category mismatch: it names category {category}, but there are {categories}, from 0")
        # Whoever rounds may reach a pixel beyond the edge, but no box begins there.
        across = 0 <= left < min(left + width, line.width) and left + width <= line.width + 1
        if not (across and 0 <= top < min(top + height, line.height) and top + height <= line.height + 1):
            box = (left, top, width, height)
            raise ValueError(f"the box {box} does not lie on the picture of {line.width} x {line.height}")
        width = line.width - left if left + width > line.width else width
        height = line.height - top if top + height > line.height else height
        boxes.append((category, left, top, width, height))
    return Sample(name, path, line.width, line.height, line.flight, tuple(boxes))


def _sentence(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'it'}: {e['msg']}" for e in error.errors()[:3])
    return str(error)


def _refuse_most_dropped(channel: str, dropped: list[Dropped], total: int) -> None:
    if len(dropped) > MOST_DROPPED * total:
        raise JobError(
            f"{len(dropped)} of the {total} pictures of the channel '{channel}' cannot be used; the first is "
            f"{dropped[0].name}: {dropped[0].reason}"
        )
