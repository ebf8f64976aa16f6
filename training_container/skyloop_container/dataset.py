"""Read a channel: images with their YOLO labels, each checked before any is used; what cannot be used is left out."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from skyloop.formats.pictures import READABLE, ImageRefused, open_picture

from .environment import JobError, available_cores

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}


MOST_DROPPED = 0.5
"""Of a channel's images: where more cannot be used, the channel itself is wrong, and a result would mean little."""

Box = tuple[int, float, float, float, float]  # category id; center x, center y, width, height as fractions of the image


@dataclass(frozen=True, slots=True)
class Sample:
    """An image and its boxes.

    name: the image's path below the channel, with slashes: `<job>/images/<name>.<ext>`.
    """

    name: str
    path: Path
    boxes: tuple[Box, ...]


@dataclass(frozen=True, slots=True)
class Dropped:
    """An image that was left out, by its name as in Sample, and why."""

    name: str
    reason: str

    def as_dict(self) -> dict[str, str]:
        """As the documents of a job list it."""
        return {"name": self.name, "reason": self.reason}


def read_channel(folder: Path, categories: int) -> tuple[list[Sample], list[Dropped]]:
    """Find every `…/images/<name>.<ext>` below a folder and read its `…/labels/<name>.txt`.

    Args:
        folder: a training channel or processing input.
        categories: the number of categories; ids run from 0.

    Returns:
        Samples sorted by name, and what was left out because image or labels cannot be used: one bad item must not end
        the job, nor every later one with the same test set. An empty label file is a true negative; so is a missing
        one.

    Raises:
        JobError: there is no image, or more than half of the images cannot be used; the text names the first.
    """
    images = sorted(p for p in folder.rglob("*") if p.parent.name == "images" and p.suffix.lower() in SUFFIXES)
    if not images:
        raise JobError(f"The channel '{folder.name}' holds no images (looked for */images/*.jpg and the like).")

    def read(path: Path) -> Sample | Dropped:
        name = path.relative_to(folder).as_posix()
        try:
            boxes = _read_labels(path.parent.parent / "labels" / f"{path.stem}.txt", categories)
            open_picture(path.read_bytes(), READABLE).decode()
        except (JobError, ImageRefused, OSError, UnicodeError) as error:
            return Dropped(name, str(error))
        return Sample(name, path, boxes)

    with ThreadPoolExecutor(available_cores()) as pool:
        items = list(pool.map(read, images))
    dropped = [item for item in items if isinstance(item, Dropped)]
    if len(dropped) > MOST_DROPPED * len(items):
        raise JobError(
            f"{len(dropped)} of the {len(items)} images of the channel '{folder.name}' cannot be used; the first is "
            f"{dropped[0].name}: {dropped[0].reason}"
        )
    return [item for item in items if isinstance(item, Sample)], dropped


def report_dropped(channel: str, dropped: list[Dropped], say: Callable[[str], None] = print) -> None:
    """A line for each image that was left out."""
    for item in dropped:
        say(f"left out of {channel}: {item.name}: {item.reason}")


def _read_labels(path: Path, categories: int) -> tuple[Box, ...]:
    if not path.exists():
        return ()
    boxes = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        where = f"line {number} of the label file {path.parent.parent.name}/labels/{path.name}"
        try:
            category, x, y, width, height = line.split()
            box = (int(category), float(x), float(y), float(width), float(height))
        except ValueError as error:
            raise JobError(f"Category and box expected, five numbers, in {where}: {line[:80]!r}.") from error
        if not 0 <= box[0] < categories:
            raise JobError(f"Category mismatch: {where} names category {box[0]}, but there are {categories}, from 0.")
        if not all(0 <= value <= 1 for value in box[1:]) or box[3] == 0 or box[4] == 0:
            raise JobError(f"Fractions of the image in 0..1 expected in {where}: {line[:80]!r}.")
        boxes.append(box)
    return tuple(boxes)


def read_image(sample: Sample) -> np.ndarray:
    """The sample's image as (height, width, 3) uint8 RGB, upright."""
    return decode(sample.path.read_bytes())


def decode(data: bytes) -> np.ndarray:
    """An image file as (height, width, 3) uint8 RGB, upright. Raises ImageRefused."""
    return np.asarray(open_picture(data, READABLE).decode())


def to_pixels(box: Box, width: int, height: int) -> tuple[float, float, float, float]:
    """A YOLO box as left, top, width, height in pixels of an image of `width` x `height`."""
    _, x, y, w, h = box
    return (x - w / 2) * width, (y - h / 2) * height, w * width, h * height


def link_for_ultralytics(splits: dict[str, list[Sample]], categories: list[str], into: Path) -> Path:
    """Lay samples out as Ultralytics expects them, and write the data.yaml that names them.

    They are links in a scratch folder, because Ultralytics leaves cache files beside labels and pairs `/images/` with
    `/labels/` by path. So the input stays as it is, and equal names of two labeling jobs do not collide.

    Args:
        splits: "train" and "val".
        categories: names in the order of their ids.
        into: a scratch folder.

    Returns:
        The path of data.yaml (written as JSON, which is YAML).
    """
    for split, samples in splits.items():
        images, labels = into / split / "images", into / split / "labels"
        images.mkdir(parents=True)
        labels.mkdir()
        for number, sample in enumerate(samples):
            (images / f"{number:06d}{sample.path.suffix.lower()}").symlink_to(sample.path.resolve())
            text = "".join(f"{c} {x:.8f} {y:.8f} {w:.8f} {h:.8f}\n" for c, x, y, w, h in sample.boxes)
            (labels / f"{number:06d}.txt").write_text(text, encoding="utf-8")
    data = {
        "path": str(into),
        **{split: f"{split}/images" for split in splits},
        "names": dict(enumerate(categories)),
    }
    path = into / "data.yaml"
    path.write_text(json.dumps(data), encoding="utf-8")
    return path
