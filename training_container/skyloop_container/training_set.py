"""Pictures become what Ultralytics trains on: the views that the slicing plan takes of them, with the boxes on each."""

import hashlib
import heapq
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from pathlib import Path

import cv2
import numpy as np
from skyloop.formats.pictures import HEAD, MIN_SIDE, RadiometricWindow, may_have_counts

from .dataset import Box, Dropped, Sample, decoded, with_files
from .kept import KeptSlices
from .scaling import scaled
from .slicing import SlicingPlan, View

MIN_VISIBLE = 0.5
"""A box is repeated on every slice that shows at least this share of it."""

TINY = 3.0
"""Pixels of the network's input (root of the area). What is smaller on the whole picture is left to the slices."""

EMPTY_SHARE = 0.25
"""Slices without a box, of those with one: more would only make epochs longer. Pictures without any box count too."""

LEAST_EMPTY = 4
"""Slices without a box where no view has one: validation pictures may be so, and Ultralytics wants a file."""

# Color at full resolution: small objects are a few pixels wide.
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]


Part = tuple[View, tuple[Box, ...]]
"""A view of a picture and the boxes on it, in pixels of the view."""


@dataclass(frozen=True, slots=True)
class Image:
    """A file to train on: a view of a picture, and the boxes on it, in pixels of the view. The file may be smaller."""

    path: Path
    view: View
    boxes: tuple[Box, ...]


def boxes_on_views(boxes: Sequence[Box], views: Sequence[View]) -> list[tuple[Box, ...]]:
    """For each view of a picture the boxes on it: their visible parts, in pixels of the view.

    A box goes to every slice that shows at least MIN_VISIBLE of it and, so that no object is lost however large it is,
    to the slice that shows most of it. To the whole picture beside them go all but those that would be TINY on it.
    """
    placed: list[list[Box]] = [[] for _ in views]
    for box in boxes:
        parts = [_part(box, view) for view in views]
        areas = [0.0 if view.larger_than else part[3] * part[4] for view, part in zip(views, parts, strict=True)]
        enough = min(MIN_VISIBLE * box[3] * box[4], max(areas))
        for number, (view, part, area) in enumerate(zip(views, parts, areas, strict=True)):
            if (np.sqrt(box[3] * box[4]) * view.scale >= TINY) if view.larger_than else (area > 0 and area >= enough):
                placed[number].append(part)
    return [tuple(on_view) for on_view in placed]


def _part(box: Box, view: View) -> Box:
    """What a view shows of a box, in pixels of the view; width or height are 0 where it shows nothing."""
    category, left, top, width, height = box
    shown_left, shown_top = max(left, view.left), max(top, view.top)
    return (
        category,
        shown_left - view.left,
        shown_top - view.top,
        max(min(left + width, view.right) - shown_left, 0.0),
        max(min(top + height, view.bottom) - shown_top, 0.0),
    )


def lay_out(
    splits: dict[str, list[Sample]],
    categories: list[str],
    plan: SlicingPlan,
    imgsz: int,
    into: Path,
    kept: Path,
    *,
    window: RadiometricWindow | None,
) -> tuple[Path, dict[str, int], dict[str, list[Dropped]]]:
    """Cut pictures as planned, lay the views out as Ultralytics expects them, and write the data.yaml that names them.

    Only views that are trained on are cut.

    Args:
        splits: "train" and "val".
        categories: names in the order of their ids.
        plan: how to cut.
        imgsz: side of the network's input; views are scaled down to it, as Ultralytics would each time it reads them.
        into: a scratch folder.
        kept: where views are kept for later trainings on this machine, by picture, window and plan; or in `into`, where
            another process uses that folder, or there is no room.
        window: through which pictures are seen.

    Returns:
        The path of data.yaml (written as JSON, which is YAML); how many images there are in each split; and what was
        left out of each because it cannot be read.
    """
    store = KeptSlices(kept, into / "slices")
    counts, left_out = {}, {}
    for split, samples in splits.items():
        chosen = choose_views(samples, plan, imgsz)
        cut, left_out[split] = with_files(
            "validation" if split == "val" else split,
            [sample for sample in samples if sample.name in chosen],
            _cutter(chosen, plan, window, imgsz, store),
        )
        images = [image for _, of_picture in cut for image in of_picture]
        counts[split] = len(images)
        _link(images, into / split)
    store.trim()
    data = {"path": str(into), **{split: f"{split}/images" for split in splits}, "names": dict(enumerate(categories))}
    path = into / "data.yaml"
    path.write_text(json.dumps(data), encoding="utf-8")
    return path, counts, left_out


def choose_views(samples: Sequence[Sample], plan: SlicingPlan, imgsz: int) -> dict[str, list[Part]]:
    """What of each picture is trained on, by its name: known before any is opened.

    All views with boxes, all pictures that are one view, and of the other empty ones a share, or a few if there is
    nothing else, by a hash of their names: evenly from all pictures, the same in each training.
    """

    @lru_cache(1000)
    def views_of(width: int, height: int) -> list[View]:
        return plan.slices(width, height, imgsz)

    chosen: dict[str, list[Part]] = {}
    for sample in samples:
        views = views_of(sample.width, sample.height)
        placed = boxes_on_views(sample.boxes, views)
        if parts := [part for part in zip(views, placed, strict=True) if part[1] or len(views) == 1]:
            chosen[sample.name] = parts

    def empty() -> Iterator[tuple[bytes, str, View]]:
        for sample in samples:
            taken = {view for view, _ in chosen.get(sample.name, [])}
            for view in views_of(sample.width, sample.height):
                if view not in taken:
                    where = f"{sample.name} {view.left} {view.top} {view.right} {view.bottom}"
                    yield hashlib.blake2b(where.encode(), digest_size=8).digest(), sample.name, view

    share = round(EMPTY_SHARE * sum(map(len, chosen.values()))) if chosen else LEAST_EMPTY
    for _, name, view in heapq.nsmallest(share, empty(), key=itemgetter(0)):
        chosen.setdefault(name, []).append((view, ()))
    return chosen


def _cutter(
    chosen: dict[str, list[Part]],
    plan: SlicingPlan,
    window: RadiometricWindow | None,
    imgsz: int,
    store: KeptSlices,
) -> Callable[[Sample, bytes], list[Image] | Dropped]:
    """What makes files of the chosen views of a picture. It is decoded only if one is not there already."""

    def cut(sample: Sample, data: bytes) -> list[Image] | Dropped:
        # By content, so that another picture under the same name is another file; and by size, for then it was read.
        content = f"{hashlib.sha256(data).hexdigest()[:32]}_{sample.width}x{sample.height}"
        if window and may_have_counts(data[:HEAD]):
            content += f"_{window}"
        suffix = ".jpg" if sample.path.suffix.lower() in {".jpg", ".jpeg"} else ".png"
        picture: np.ndarray | None = None
        images = []
        for view, boxes in chosen[sample.name]:
            # Ultralytics leaves out what is thinner than MIN_SIDE.
            scale = min(max(view.scale, MIN_SIDE / min(view.width, view.height)), 1.0)
            across, down = round(view.width * scale), round(view.height * scale)
            name = f"{content}_{view.left}_{view.top}_{view.right}_{view.bottom}_{across}x{down}"
            file = store.find(name)
            if file is None:
                if picture is None:
                    found = decoded(sample, data, window, lambda width, height: plan.factor(width, height, imgsz))
                    if isinstance(found, Dropped):
                        return found
                    picture = found
                part = picture[view.top : view.bottom, view.left : view.right]
                file = store.add(name, _encoded(scaled(part, scale, (view.width, view.height)), suffix), suffix)
            images.append(Image(file, view, boxes))
        return images

    return cut


def _encoded(picture: np.ndarray, suffix: str) -> bytes:
    pixels = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    return cv2.imencode(suffix, pixels, _JPEG if suffix == ".jpg" else [])[1].tobytes()


def _link(images: list[Image], into: Path) -> None:
    """Links, because Ultralytics leaves caches beside labels and pairs `/images/` with `/labels/` by path."""
    (into / "images").mkdir(parents=True)
    (into / "labels").mkdir()
    for number, image in enumerate(images):
        (into / "images" / f"{number:07d}{image.path.suffix}").symlink_to(image.path.resolve())
        text = "".join(_label(box, image.view) for box in image.boxes)
        (into / "labels" / f"{number:07d}.txt").write_text(text, encoding="utf-8")


def _label(box: Box, view: View) -> str:
    """As YOLO writes a box: center, width and height as shares of the picture."""
    category, left, top, width, height = box
    x, y = (left + width / 2) / view.width, (top + height / 2) / view.height
    return f"{category} {x:.8f} {y:.8f} {width / view.width:.8f} {height / view.height:.8f}\n"
