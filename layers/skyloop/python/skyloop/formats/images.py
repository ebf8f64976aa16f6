"""What is this file? Decides from the bytes alone whether they are a whole JPEG or PNG that people can label.

Limits are Ground Truth's for image labeling jobs: 40 MB and 100 megapixels per picture, JPEG or PNG
(docs.aws.amazon.com/sagemaker/latest/dg/input-data-limits.html and sms-supported-data-formats.html).
"""

from __future__ import annotations

import hashlib
import math
import re
import struct
import zlib
from collections.abc import Callable
from datetime import datetime
from io import BytesIO
from typing import Literal

from PIL import ExifTags, Image, ImageFile, JpegImagePlugin, PngImagePlugin

from skyloop.documents import ImageFacts

MAX_BYTES = 40_000_000  # "40 MB", read strictly
MAX_PIXELS = 100_000_000

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_START = b"\xff\xd8\xff"
_OTHER_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"II*\x00", "a TIFF"),
    (0, b"MM\x00*", "a TIFF"),
    (0, b"II+\x00", "a BigTIFF"),
    (0, b"MM\x00+", "a BigTIFF"),
    (0, b"GIF8", "a GIF"),
    (8, b"WEBP", "a WebP"),
    (0, b"BM", "a BMP"),
    (4, b"ftyp", "an HEIC, AVIF or video"),
    (0, b"\x00\x00\x00\x0cjP  ", "a JPEG 2000"),
    (0, b"%PDF", "a PDF"),
    (0, b"PK\x03\x04", "a zip"),
    (0, b"\x1f\x8b", "a gzip"),
)

_READERS: dict[str, Callable[[BytesIO], ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
}

# Markers of a JPEG that stand alone, without a length: TEM and the restart markers (ITU-T T.81, table B.1).
_STANDALONE_MARKERS = {0x01, *range(0xD0, 0xD8)}
_END_OF_IMAGE = 0xD9


class ImageRefused(ValueError):
    """This file cannot be labeled. `code` is for programs; the message says why, for a person."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def media_type(body: bytes) -> Literal["image/jpeg", "image/png"] | None:
    """What the first bytes say that a file is; None when it is neither a JPEG nor a PNG."""
    if body.startswith(_JPEG_START):
        return "image/jpeg"
    return "image/png" if body.startswith(_PNG_SIGNATURE) else None


def check_image(body: bytes) -> ImageFacts:
    """Decode the whole file and say what the catalogue keeps about it. The file's name does not matter, only its bytes.

    Raises ImageRefused with code `empty`, `too-large`, `not-an-image`, `unsupported-format`, `too-many-pixels`,
    `truncated` or `broken`.
    """
    if not body:
        raise ImageRefused("empty", "the file has 0 bytes")
    if len(body) > MAX_BYTES:
        raise too_large(len(body))
    picture = open_picture(body)
    if not _is_complete(body, picture.format):
        raise ImageRefused("truncated", f"the {picture.format} ends before its end marker: an interrupted upload?")
    _decode(picture)
    return read_facts(picture, body)


def read_facts(picture: Image.Image, body: bytes) -> ImageFacts:
    """What an opened picture's header says, and the hash of the whole file. Decodes nothing."""
    exif = _exif(picture)
    latitude, longitude = _position(exif)
    return ImageFacts(
        image_id=hashlib.sha256(body).hexdigest(),
        width=picture.width,
        height=picture.height,
        bytes=len(body),
        format="PNG" if picture.format == "PNG" else "JPEG",
        orientation=_orientation(exif),
        captured_at=_captured_at(exif),
        latitude=latitude,
        longitude=longitude,
    )


def too_large(size: int) -> ImageRefused:
    """The refusal of a file of `size` bytes, more than MAX_BYTES: its content need not be read."""
    return ImageRefused("too-large", f"{size / 1e6:.1f} MB; Ground Truth takes at most {MAX_BYTES / 1e6:.0f} MB")


def open_picture(body: bytes) -> Image.Image:
    """Read a JPEG's or PNG's header, without decoding a pixel.

    The formats' readers are called directly: `Image.open` would try every format that Pillow knows (more to attack) and
    refuses large pictures without saying how large. Raises ImageRefused.
    """
    if body.startswith(_JPEG_START):
        format_name = "JPEG"
    elif body.startswith(_PNG_SIGNATURE):
        format_name = "PNG"
    else:
        raise _unreadable(body)
    try:
        picture = _READERS[format_name](BytesIO(body))
    except (OSError, SyntaxError, ValueError, struct.error, zlib.error, IndexError, KeyError) as error:
        code = "broken" if _is_complete(body, format_name) else "truncated"
        raise ImageRefused(code, f"its header cannot be read: {error}") from error
    if picture.width * picture.height > MAX_PIXELS:
        raise ImageRefused(
            "too-many-pixels",
            f"{picture.width} × {picture.height} pixels by its header; Ground Truth takes at most"
            f" {MAX_PIXELS / 1e6:.0f} megapixels: cut it into smaller pictures and drop those",
        )
    return picture


def eight_bit(picture: Image.Image) -> Image.Image:
    """The picture as 8-bit grayscale or RGB, as browsers and OpenCV show it. Transparency is dropped."""
    if picture.mode.startswith("I"):
        # Sixteen bits per pixel (thermal cameras): keep the high byte. Pillow's own conversion would clip at 255.
        return picture.convert("I").point(lambda value: value / 256).convert("L")
    return picture if picture.mode in {"L", "RGB"} else picture.convert("RGB")


def _unreadable(body: bytes) -> ImageRefused:
    for offset, signature, what in _OTHER_SIGNATURES:
        if body[offset : offset + len(signature)] == signature:
            return ImageRefused("unsupported-format", f"it is {what} file; Ground Truth shows JPEG and PNG only")
    head = body[:64]
    if head.strip(b"\x00") == b"":
        return ImageRefused("not-an-image", "it is filled with zero bytes")
    printable = sum(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head)
    if printable == len(head):
        return ImageRefused("not-an-image", f"it is text, beginning {head[:40].decode('ascii')!r}")
    return ImageRefused("not-an-image", f"it begins with {head[:8].hex(' ')}, which is neither a JPEG nor a PNG")


def _decode(picture: Image.Image) -> None:
    """Decode every pixel, to see that they are there. Raises ImageRefused."""
    try:
        picture.load()
    except (OSError, SyntaxError, ValueError, struct.error, zlib.error, IndexError, KeyError) as error:
        code = "truncated" if "truncated" in str(error) else "broken"
        raise ImageRefused(code, f"its pixels cannot be decoded: {error}") from error


def _is_complete(body: bytes, format_name: str | None) -> bool:
    """Does the file reach its end marker? Decoders accept a missing tail and paint it gray, so they are not asked."""
    return _jpeg_is_complete(body) if format_name == "JPEG" else _png_is_complete(body)


def _jpeg_is_complete(body: bytes) -> bool:
    """Walk a JPEG's segments to the end-of-image marker (ITU-T T.81, annex B).

    An embedded preview has an end marker of its own, and cameras append data after the real one: hence the walk.
    """
    at = 2
    while True:
        at = body.find(b"\xff", at)
        if at < 0:
            return False
        while at < len(body) and body[at] == 0xFF:  # any number of fill bytes may precede a marker
            at += 1
        if at >= len(body):
            return False
        marker = body[at]
        at += 1
        if marker == _END_OF_IMAGE:
            return True
        if marker == 0x00 or marker in _STANDALONE_MARKERS:  # FF 00 is a data byte within a scan
            continue
        if at + 2 > len(body):
            return False
        # The entropy-coded data after a scan's header is passed over by the search for the next marker.
        at += int.from_bytes(body[at : at + 2], "big")
        if at > len(body):
            return False


def _png_is_complete(body: bytes) -> bool:
    """Walk a PNG's chunks to IEND (PNG specification, section 5)."""
    at = len(_PNG_SIGNATURE)
    while at + 12 <= len(body):
        length, kind = struct.unpack_from(">I4s", body, at)
        at += 12 + length
        if kind == b"IEND":
            return bool(at <= len(body))
    return False


def _exif(picture: Image.Image) -> Image.Exif:
    try:
        return picture.getexif()
    except Exception:  # any camera wrote this metadata; if it is broken, the picture can still be used
        return Image.Exif()


def _directory(exif: Image.Exif, tag: int) -> dict[int, object]:
    try:
        return exif.get_ifd(tag)
    except Exception:  # as above
        return {}


def _orientation(exif: Image.Exif) -> int:
    value = exif.get(ExifTags.Base.Orientation)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _captured_at(exif: Image.Exif) -> str | None:
    """DateTimeOriginal as ISO 8601, with its offset where the camera wrote one (Exif 2.32, section 4.6.6)."""
    details = _directory(exif, ExifTags.IFD.Exif)
    text = details.get(ExifTags.Base.DateTimeOriginal) or exif.get(ExifTags.Base.DateTime)
    offset = details.get(ExifTags.Base.OffsetTimeOriginal)
    if not isinstance(text, str):
        return None
    try:
        taken = datetime.strptime(text.strip("\x00 "), "%Y:%m:%d %H:%M:%S")
    except ValueError:
        return None
    suffix = offset.strip("\x00 ") if isinstance(offset, str) else ""
    return taken.isoformat() + (suffix if re.fullmatch(r"[+-]\d\d:\d\d", suffix) else "")


def _position(exif: Image.Exif) -> tuple[float | None, float | None]:
    """Latitude and longitude in degrees, or (None, None) where either is missing or impossible."""
    gps = _directory(exif, ExifTags.IFD.GPSInfo)
    latitude = _degrees(gps.get(ExifTags.GPS.GPSLatitude), gps.get(ExifTags.GPS.GPSLatitudeRef), "S", 90)
    longitude = _degrees(gps.get(ExifTags.GPS.GPSLongitude), gps.get(ExifTags.GPS.GPSLongitudeRef), "W", 180)
    # Receivers without a fix write 0, 0: a spot in the sea off Ghana.
    if latitude is None or longitude is None or (latitude == 0 and longitude == 0):
        return None, None
    return latitude, longitude


def _degrees(value: object, reference: object, negative: str, limit: int) -> float | None:
    if not isinstance(value, tuple | list):
        return None
    try:
        degrees, minutes, seconds = (float(part) for part in value)
        total = degrees + minutes / 60 + seconds / 3600
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    if not math.isfinite(total) or not 0 <= total <= limit:
        return None
    reference = reference.decode("ascii", "replace") if isinstance(reference, bytes) else str(reference)
    return round(-total if reference.strip("\x00 ").upper().startswith(negative) else total, 7)
