"""Pictures become what Ultralytics trains on: the views that the slicing plan takes of them, with the boxes on each."""

import hashlib
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from skyloop.formats.pictures import MIN_SIDE, RadiometricWindow

from .dataset import Box, Dropped, Sample, with_pictures
from .radiometry import may_matter
from .scaling import scaled
from .slicing import SlicingPlan, View

MIN_VISIBLE = 0.5
"""A box is repeated on every slice that shows at least this share of it."""

TINY = 3.0
"""Pixels of the network's input (root of the area). What is smaller on the whole picture is left to the slices."""

EMPTY_SHARE = 0.25
"""Slices without a box, of those with one: more would only make epochs longer. Pictures without any box count too."""

# Color at full resolution: small objects are a few pixels wide.
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]


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

    Args:
        splits: "train" and "val".
        categories: names in the order of their ids.
        plan: how to cut.
        imgsz: side of the network's input; views are scaled down to it, as Ultralytics would each time it reads them.
        into: a scratch folder.
        kept: where views are kept for later trainings on this machine, by picture, window and plan.
        window: through which pictures are seen.

    Returns:
        The path of data.yaml (written as JSON, which is YAML); how many images there are in each split; and what was
        left out of each because it cannot be read.
    """
    counts, left_out = {}, {}
    for split, samples in splits.items():
        cut, left_out[split] = with_pictures(
            "validation" if split == "val" else split,
            samples,
            window,
            lambda sample, picture: _views(sample, picture, plan, window, imgsz, kept),
            lambda width, height: plan.factor(width, height, imgsz),
        )
        images = _sampled([views for _, views in cut])
        counts[split] = len(images)
        _link(images, into / split)
    data = {"path": str(into), **{split: f"{split}/images" for split in splits}, "names": dict(enumerate(categories))}
    path = into / "data.yaml"
    path.write_text(json.dumps(data), encoding="utf-8")
    return path, counts, left_out


def _views(
    sample: Sample, picture: np.ndarray, plan: SlicingPlan, window: RadiometricWindow | None, imgsz: int, kept: Path
) -> list[Image]:
    """The views of one picture as files. One that is there from an earlier training is not written again."""
    views = plan.slices(sample.width, sample.height, imgsz)
    digest = hashlib.sha256(sample.path.read_bytes()).hexdigest()[:32]
    if window and may_matter(sample):
        digest += f"_{window}"
    images = []
    for view, boxes in zip(views, boxes_on_views(sample.boxes, views), strict=True):
        # Ultralytics leaves out what is thinner than MIN_SIDE.
        scale = min(max(view.scale, MIN_SIDE / min(view.width, view.height)), 1.0)
        width, height = round(view.width * scale), round(view.height * scale)
        file = kept / _name(digest, view, imgsz, sample.path.suffix)
        if not file.exists():
            _write(file, picture[view.top : view.bottom, view.left : view.right], (width, height))
        images.append(Image(file, view, boxes))
    return images


def _name(digest: str, view: View, imgsz: int, suffix: str) -> str:
    """Of a view's file: by the picture's content, so that another picture under the same name is another file."""
    kind = "jpg" if suffix.lower() in {".jpg", ".jpeg"} else "png"
    return f"{digest[:2]}/{digest}_{view.left}_{view.top}_{view.right}_{view.bottom}_{imgsz}.{kind}"


def _write(file: Path, part: np.ndarray, size: tuple[int, int]) -> None:
    picture = cv2.cvtColor(scaled(part, *size), cv2.COLOR_RGB2BGR)
    encoded = cv2.imencode(file.suffix, picture, _JPEG if file.suffix == ".jpg" else [])[1]
    file.parent.mkdir(parents=True, exist_ok=True)
    # In one step, and under a name of its own: the same picture may be there twice, and be cut at the same time.
    with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as part_file:
        part_file.write(encoded.tobytes())
    Path(part_file.name).replace(file)


def _sampled(pictures: list[list[Image]]) -> list[Image]:
    """All views with boxes, all pictures that are one view, and of the other empty ones a share."""
    full = [image for views in pictures for image in views if image.boxes or len(views) == 1]
    empty = [image for views in pictures for image in views if not image.boxes and len(views) > 1]
    empty.sort(key=lambda image: hashlib.sha256(image.path.name.encode()).digest())
    return full + empty[: round(EMPTY_SHARE * len(full))]


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
