"""The folders that the demo drops: frames by flight line, with a COCO file beside them, like a user's own."""

from __future__ import annotations

import random
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from skyloop.formats.coco import CocoAnnotation, CocoCategory, CocoFile, CocoImage
from skyloop.formats.geometry import Rectangle

from demo.imagery import (
    Frame,
    Orthophoto,
    frames_along_lines,
    frames_everywhere,
    read_orthophoto,
    visible_boxes,
)

FRAME = 207  # pixels, 20.7 m of ground: the dense orthophoto has room for five lines, the other for eleven
DENSE, SPARSE = "2019_YELL_2_541000_4977000_image_crop", "2019_YELL_2_528000_4978000_image_crop2"
OTHER_SITES = ("OSBS_029", "SOAP_061", "SOAP_031")
# Pixels from one frame of a line to the next: 27 frames of a dense line, 21 or 11 of the other's.
DENSE_STEP, SPARSE_STEP, FAST_STEP = 40, 100, 200
# The dense lines are flown once more for the scrambled batch, all as one flight and with a small offset. Lines
# 3 and 5 are left out: the split by flight puts them into validation and test, and no training may see their ground.
AGAIN_START, AGAIN_STEP, AGAIN_LINES = 21, 34, (1, 2, 4)
SITE_STEP = 96  # nine frames per site
CATEGORY = "tree"
JPEG_QUALITY = 92


@dataclass(frozen=True)
class Drops:
    """One folder per drop. `waiting` is dropped without labels; `visitors`, of other sites, only go to the endpoint."""

    first: Path
    second: Path
    scrambled: Path
    waiting: Path
    visitors: Path


def coco_of(frames: list[Frame]) -> CocoFile:
    """A COCO file about frames; file names are `<flight>/<file>`."""
    images: list[CocoImage] = []
    annotations: list[CocoAnnotation] = []
    for number, frame in enumerate(frames):
        width, height = frame.image.size
        images.append(CocoImage(id=number, file_name=f"{frame.flight}/{frame.file_name}", width=width, height=height))
        for box in frame.boxes:
            bbox = (box.left, box.top, box.width, box.height)
            annotations.append(CocoAnnotation(id=len(annotations), image_id=number, category_id=1, bbox=bbox))
    return CocoFile(images=images, annotations=annotations, categories=[CocoCategory(id=1, name=CATEGORY)])


def write_drop(folder: Path, frames: list[Frame]) -> Path:
    """Write frames to `folder/<flight>/`, and their boxes to `folder/annotations.json`."""
    for frame in frames:
        (folder / frame.flight).mkdir(parents=True, exist_ok=True)
        frame.image.save(folder / frame.flight / frame.file_name, quality=JPEG_QUALITY)
    (folder / "annotations.json").write_bytes(coco_of(frames).body())
    return folder


def scramble(frames: list[Frame], seed: int) -> list[Frame]:
    """The same frames with labels of a wrong size: every box around its tree, but about three times too large.

    Boxes at random places would be the milder mistake: they are noise, which training averages out, and the gate finds
    nothing wrong with the model, which is right. So is a common shift, which teaches other places of the picture. Boxes
    of a wrong size teach at the very places that the model knows better, and it answers with something in between.
    """
    chance = random.Random(seed)
    return [replace(frame, boxes=_enlarged(frame, chance)) for frame in frames]


def _enlarged(frame: Frame, chance: random.Random) -> list[Rectangle]:
    grown = []
    for box in frame.boxes:
        factor = chance.uniform(2.5, 3.5)
        across, down = (factor - 1) / 2 * box.width, (factor - 1) / 2 * box.height
        grown.append(Rectangle(box.left - across, box.top - down, factor * box.width, factor * box.height))
    return visible_boxes(grown, Rectangle(0, 0, *frame.image.size), least=0)


def prepare_drops(imagery: Path, target: Path, seed: int = 0) -> Drops:
    """Make all drops in `target`, which is emptied first."""
    shutil.rmtree(target, ignore_errors=True)
    dense, sparse = read_orthophoto(imagery, DENSE), read_orthophoto(imagery, SPARSE)

    def west_east(photo: Orthophoto, prefix: str, step: int, *lines: int) -> list[Frame]:
        return frames_along_lines(photo, prefix, FRAME, step, lines)

    again = frames_along_lines(dense, "yell-a-again", FRAME, AGAIN_STEP, AGAIN_LINES, AGAIN_START)
    scrambled = scramble([replace(frame, flight="yell-a-again") for frame in again], seed)
    sites = [read_orthophoto(imagery, name) for name in OTHER_SITES]
    return Drops(
        first=write_drop(target / "flight-lines-1", west_east(dense, "yell-a", DENSE_STEP, 1, 2, 3, 4, 5)),
        second=write_drop(target / "flight-lines-2", west_east(sparse, "yell-b", SPARSE_STEP, 7, 8)),
        scrambled=write_drop(target / "scrambled", scrambled),
        waiting=write_drop(target / "waiting", west_east(sparse, "yell-b", FAST_STEP, 10)),
        visitors=write_drop(
            target / "other-sites", [f for site in sites for f in frames_everywhere(site, FRAME, SITE_STEP)]
        ),
    )
