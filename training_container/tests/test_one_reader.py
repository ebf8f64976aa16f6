"""One reader of pictures: every door says the same of a file, and no picture is the server's fault.

The doors: intake and conversion (`check_image`), `skyloop drop` (`open_picture`), training and evaluation (`decode`),
the endpoint (HTTP), `skyloop detect` (`open_picture` with all formats).
"""

import asyncio
import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from skyloop.formats.images import check_image
from skyloop.formats.pictures import READABLE, ImageRefused, RadiometricWindow, open_picture
from skyloop_container.dataset import decode
from skyloop_container.serve import create_app

from tests.support.files import shared_folder
from tests.support.pictures import encoded, picture
from training_container.tests.fuzz_requests import ask, detector

READ = ""
OTHER_FORMAT = "unsupported-format"  # of what is kept and labeled; the endpoint takes more


def code_of(door: Callable[[bytes], object], body: bytes) -> str:
    try:
        door(body)
    except ImageRefused as refused:
        return refused.code
    return READ


def endpoint(body: bytes) -> str:
    status = asyncio.run(ask(create_app(detector(), 1, 2**33, 2.0), body))
    assert status in (200, 400)
    return READ if status == 200 else "refused"


def outcomes(body: bytes) -> dict[str, str]:
    return {
        "intake": code_of(check_image, body),
        "drop": code_of(open_picture, body),
        "training": code_of(lambda one: decode(one, WINDOW), body),
        "detect": code_of(lambda one: open_picture(one, READABLE).show(), body),
        "endpoint": endpoint(body),
    }


def consistent(body: bytes, code: str) -> None:
    """A file is read by all, refused by all with one code, or is of a format that only the endpoint takes."""
    said = outcomes(body)
    assert said.pop("endpoint") == ("refused" if code else READ), said
    if code == READ and said["intake"] == said["drop"] == OTHER_FORMAT:
        said |= {"intake": READ, "drop": READ}
    assert set(said.values()) == {code}, said


def tiff(image: np.ndarray) -> bytes:
    return encoded(Image.fromarray(image), "TIFF")


def exif_of(entry: bytes) -> bytes:
    """A JPEG with one EXIF entry of 12 bytes, beside its good pixels."""
    block = b"Exif\0\0II*\0\x08\0\0\0\x01\0" + entry + bytes(4)
    return b"\xff\xd8\xff\xe1" + struct.pack(">H", len(block) + 2) + block + encoded(picture())[2:]


def png_claiming(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def of_two(*pictures: Image.Image) -> bytes:
    stream = io.BytesIO()
    pictures[0].save(stream, "MPO", save_all=True, append_images=pictures[1:])
    return stream.getvalue()


NOISE, JPEG, PNG = np.random.default_rng(3), encoded(picture()), encoded(picture(), "PNG")
WINDOW = RadiometricWindow(9_100, 9_300)
SIXTEEN = NOISE.integers(9_000, 9_400, (48, 64), dtype=np.uint16)
KINDS: dict[str, tuple[bytes, str]] = {
    "a JPEG": (JPEG, READ),
    "a gray JPEG": (encoded(picture().convert("L")), READ),
    "a JPEG in CMYK": (encoded(picture().convert("CMYK")), READ),
    "a progressive JPEG": (encoded(picture(), progressive=True), READ),
    "a JPEG with bytes after its end": (JPEG + b"a camera's own" * 99, READ),
    "an MPO": (of_two(picture(), picture(seed=1)), READ),
    "an MPO whose second picture is cut": (of_two(picture(), picture(seed=1))[:-900], READ),
    "an orientation of 9": (exif_of(struct.pack("<HHII", 274, 3, 1, 9)), READ),
    "a rational over nothing": (exif_of(struct.pack("<HHII", 282, 5, 1, 10**9)), READ),
    "a text of four gigabytes": (exif_of(struct.pack("<HHII", 306, 2, 2**32 - 1, 8)), READ),
    "a type of 99": (exif_of(struct.pack("<HHII", 274, 99, 1, 9)), READ),
    "a cut JPEG": (JPEG[:-300], "truncated"),
    "a JPEG of nothing but its header": (JPEG[:200], "truncated"),
    "a PNG": (PNG, READ),
    "a PNG of one bit": (encoded(picture().convert("1"), "PNG"), READ),
    "a palette": (encoded(picture().convert("P"), "PNG"), READ),
    "transparency": (encoded(picture().convert("RGBA"), "PNG"), READ),
    "gray of 16 bits": (encoded(Image.fromarray(SIXTEEN), "PNG"), READ),
    "a cut PNG": (PNG[:-400], "truncated"),
    "a PNG with a flipped bit": (PNG[:300] + bytes([PNG[300] ^ 4]) + PNG[301:], "broken"),
    "nine pixels": (encoded(picture(3, 3), "PNG"), "too-thin"),
    "a strip": (encoded(picture(1280, 1), "PNG"), "too-thin"),
    "a long strip": (encoded(picture(6000, 12), "PNG"), "too-thin"),
    "ten gigapixels": (png_claiming(100_000, 100_000), "too-many-pixels"),
    "a WebP": (encoded(picture(), "WEBP"), READ),
    "a BMP": (encoded(picture(), "BMP"), READ),
    "a TIFF": (encoded(picture(), "TIFF"), READ),
    "a TIFF of 16 bits": (tiff(SIXTEEN), READ),
    "a TIFF of floats": (tiff(NOISE.random((48, 64), dtype=np.float32)), OTHER_FORMAT),
    "a TIFF of 32 bits": (tiff(SIXTEEN.astype(np.int32)), OTHER_FORMAT),
    "a GIF": (encoded(picture(), "GIF"), OTHER_FORMAT),
    "an array": (b"\x93NUMPY\x01\x00v\x00{'descr': '<f4'}", "not-an-image"),
    "a text": (b"this is no picture", "not-an-image"),
    "a page": (b"<html><img src=x></html>", "not-an-image"),
    "nothing": (b"", "empty"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_door_says_the_same(kind: str) -> None:
    consistent(*KINDS[kind])


SHARED = {
    "nine-pixels.png": "too-thin", "1280x1.png": "too-thin", "6000x4.png": "too-thin",
    "header-damaged.jpg": "too-thin", "float32.tif": OTHER_FORMAT, "int32.tif": OTHER_FORMAT,
    "array.npy": "not-an-image", "base64.txt": "not-an-image", "base64.json": "not-an-image",
    "mpo-second-cut.jpg": "truncated",
}  # fmt: skip


@pytest.mark.parametrize("case", ["20", "23", "24", "26", "33", "39"])
def test_pictures_that_failed_once_have_their_outcomes(case: str) -> None:
    """The files of reports, where this machine has them; what is not named is a picture."""
    (folder,) = (shared_folder() / "cases").glob(f"{case}-*")
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "whole-boxes.json"]
    assert files
    for path in files:
        consistent(path.read_bytes(), SHARED.get(path.name, READ))
