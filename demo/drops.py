"""The folders that the demo drops: frames by flight line, with a COCO file beside them, as a user's own would be."""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from demo.imagery import Box, Frame, Orthophoto, cut, read_orthophoto, scan, visible_boxes

FRAME = 207  # pixels, 20.7 m of ground: five lines fit the dense orthophoto, eleven the other
DENSE, SPARSE = "2019_YELL_2_541000_4977000_image_crop", "2019_YELL_2_528000_4978000_image_crop2"
OTHER_SITES = ("OSBS_029", "SOAP_061", "SOAP_031")
# Pixels from one frame of a line to the next: 27 frames of a dense line, 21 or 11 of the other's.
DENSE_STEP, SPARSE_STEP, FAST_STEP = 40, 100, 200
# The dense lines are flown once more for the scrambled batch, all as one flight and a little offset. Lines 3 and
# 5 are left out: the split by flight puts them into validation and test, whose ground nothing that trains may share.
AGAIN_START, AGAIN_STEP, AGAIN_LINES = 21, 34, (1, 2, 4)
SITE_FRAME, SITE_STEP = 207, 96  # nine frames a site
CATEGORY = "tree"
JPEG_QUALITY = 92


@dataclass(frozen=True)
class Drops:
    """One folder a drop. `waiting` is dropped without labels, `visitors` are other sites and only asked about."""

    first: Path
    second: Path
    scrambled: Path
    waiting: Path
    visitors: Path


def coco_of(frames: list[Frame]) -> dict[str, Any]:
    """A COCO document over frames; file names are `<flight>/<file>`."""
    images, annotations = [], []
    for number, frame in enumerate(frames):
        width, height = frame.image.size
        images.append(
            {"id": number, "file_name": f"{frame.flight}/{frame.file_name}", "width": width, "height": height}
        )
        for left, top, right, bottom in frame.boxes:
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": number,
                    "category_id": 1,
                    "bbox": [left, top, right - left, bottom - top],
                    "area": (right - left) * (bottom - top),
                    "iscrowd": 0,
                }
            )
    return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": CATEGORY}]}


def write(folder: Path, frames: list[Frame]) -> Path:
    """Write frames to `folder/<flight>/`, and their boxes to `folder/annotations.json`."""
    for frame in frames:
        (folder / frame.flight).mkdir(parents=True, exist_ok=True)
        frame.image.save(folder / frame.flight / frame.file_name, quality=JPEG_QUALITY)
    (folder / "annotations.json").write_text(json.dumps(coco_of(frames)))
    return folder


def scramble(frames: list[Frame], seed: int) -> list[Frame]:
    """The same frames with labels out of scale: every box around its tree, but about three times too large.

    Boxes at random places would be the milder mistake: they are noise, which training averages out, and the gate finds
    nothing wrong with the model – rightly. So is a common shift, which teaches other places of the picture. Boxes of a
    wrong size teach the very places that know better, and the model answers with something in between.
    """
    chance = random.Random(seed)
    return [replace(frame, boxes=_blown_up(frame, chance)) for frame in frames]


def _blown_up(frame: Frame, chance: random.Random) -> list[Box]:
    grown = []
    for left, top, right, bottom in frame.boxes:
        factor = chance.uniform(2.5, 3.5)
        across, down = (factor - 1) / 2 * (right - left), (factor - 1) / 2 * (bottom - top)
        grown.append((left - across, top - down, right + across, bottom + down))
    return visible_boxes(grown, (0, 0, *frame.image.size), least=0)


def prepare(imagery: Path, target: Path, seed: int = 0) -> Drops:
    """Cut all drops into `target`, which is made anew."""
    shutil.rmtree(target, ignore_errors=True)
    dense, sparse = read_orthophoto(imagery, DENSE), read_orthophoto(imagery, SPARSE)

    def west_east(photo: Orthophoto, prefix: str, step: int, *lines: int) -> list[Frame]:
        return cut(photo, prefix, FRAME, step, lines)

    again = cut(dense, "yell-a-again", FRAME, AGAIN_STEP, AGAIN_LINES, AGAIN_START)
    scrambled = scramble([replace(frame, flight="yell-a-again") for frame in again], seed)
    sites = [read_orthophoto(imagery, name) for name in OTHER_SITES]
    return Drops(
        first=write(target / "flight-lines-1", west_east(dense, "yell-a", DENSE_STEP, 1, 2, 3, 4, 5)),
        second=write(target / "flight-lines-2", west_east(sparse, "yell-b", SPARSE_STEP, 7, 8)),
        scrambled=write(target / "scrambled", scrambled),
        waiting=write(target / "waiting", west_east(sparse, "yell-b", FAST_STEP, 10)),
        visitors=write(target / "other-sites", [f for site in sites for f in scan(site, SITE_FRAME, SITE_STEP)]),
    )
