"""What is a picture, and how do its pixels become upright RGB? The one answer, for every reader.

Intake, conversion, training, evaluation, the endpoint and the command line all ask here: a picture that one of them
accepts is one for all, and they see the same pixels. The container carries this file, `picture_files.py`, `pixels.py`
and `exif.py` of the same folder, and nothing else of the domain.

Whatever the bytes are, the outcome is a picture or :class:`ImageRefused`. Before a decoder sees them:

- the size is read from the header: at most 100 megapixels and 40 MB (Ground Truth's limits), at least 10 pixels on each
  side (Ultralytics trains on no smaller ones) and no longer than 64 times its width, or the network would see nothing;
- a JPEG's segments and a PNG's chunks are walked to the end marker, for decoders paint a missing tail gray, and a JPEG
  has the least data at least that a picture of its size has. Only what decides about pixels is handed on: no EXIF,
  profile, comment or preview reaches a parser, so none can fail a picture;
- what makes decoders slow is counted: scans of a progressive JPEG, segments, chunks, entries, strips and tiles of a
  TIFF, runs of a BMP. What takes long for each pixel, however few bytes that are, may have fewer of them: samples of
  sixteen bits, WebP, other colors than gray and RGB, runs.

Decoding takes at most `Picture.memory` bytes, and a copy of the file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import BmpImagePlugin, Image, ImageFile, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

from skyloop.formats.exif import Exif
from skyloop.formats.picture_files import PNG_SIGNATURE, Format, ImageRefused, strip, tiff_bands
from skyloop.formats.pixels import (
    RadiometricWindow,
    count_samples,
    has_sixteen_bits,
    is_gray_of_sixteen_bits,
    range_of,
    read_rgb,
    read_samples,
)

__all__ = [
    "HEAD",
    "LABELABLE",
    "MAX_BYTES",
    "MIN_SIDE",
    "READABLE",
    "ImageRefused",
    "Picture",
    "RadiometricWindow",
    "count_samples",
    "may_have_counts",
    "media_type",
    "open_picture",
    "range_of",
    "too_large",
]

MAX_BYTES = 40_000_000  # "40 MB", read strictly: docs.aws.amazon.com/sagemaker/latest/dg/input-data-limits.html
MAX_PIXELS = 100_000_000
MIN_SIDE = 10  # pixels: ultralytics.data.utils.verify_image
MAX_ASPECT = 64
BYTES_PER_PIXEL: dict[Format, int] = {"JPEG": 14, "PNG": 14, "WEBP": 20, "BMP": 10, "TIFF": 14}
"""What decoding takes at most. Pillow has a WebP four times at once, with an alpha channel."""

LABELABLE: frozenset[Format] = frozenset({"JPEG", "PNG"})
"""What Ground Truth shows to people: docs.aws.amazon.com/sagemaker/latest/dg/sms-supported-data-formats.html."""
READABLE: frozenset[Format] = frozenset({"JPEG", "PNG", "WEBP", "BMP", "TIFF"})
"""What the endpoint answers for."""

HEAD = 26
"""Bytes of a file that say whether it may have counts."""

_MAX_WIDE_PIXELS = 40_000_000  # of sixteen bits a sample, which are read twice
_MAX_SLOW_PIXELS = 50_000_000  # that take two to five times as long as others: 1 to 2 s
_MAX_RUN_PIXELS = 5_000_000  # which Pillow pads in Python, one by one, while all other threads wait: 0.5 s
_SHOWN_OUTLIERS = 0.001  # of a picture's samples that people may see as black, and as many as white
_SLOW_COLORS = {"CMYK", "LAB", "YCbCr"}

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
# The formats' readers are called directly: `Image.open` would try every format that Pillow knows (more to attack).
_READERS: dict[Format, Callable[[BytesIO], ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
}
# What turns the stored pixels upright, by EXIF orientation (Exif 2.32, tag 274).
_TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TURNED = {5, 6, 7, 8}
_FLIPPED = {2, 3, 4, 6, 7, 8}  # a side's end is displayed at its beginning


@dataclass(frozen=True)
class Picture:
    """A picture whose header was read and whose pixels were not decoded yet.

    width, height: of the stored pixels, before the orientation is applied.
    """

    format: Format
    width: int
    height: int
    exif: Exif
    _opened: ImageFile.ImageFile
    _body: bytes
    _inverted: bool

    @property
    def displayed(self) -> tuple[int, int]:
        """Width and height after the orientation is applied."""
        return (self.height, self.width) if self.exif.orientation in _TURNED else (self.width, self.height)

    @property
    def memory(self) -> int:
        """Bytes that decoding takes at most."""
        return self.width * self.height * BYTES_PER_PIXEL[self.format]

    @property
    def has_counts(self) -> bool:
        """Whether it is gray of sixteen bits without transparency: a window decides which gray a sample is."""
        return is_gray_of_sixteen_bits(self._opened)

    def decode(self, window: RadiometricWindow | None = None, factor: int = 1) -> Image.Image:
        """Every pixel, upright, as mode RGB. To be called once.

        window: for a picture that has counts; others are the same whatever it is. factor: 2, 4 or 8 make a picture of
        that part of both sides, rounded up, each pixel the mean of so many from the upper left on, the last ones of
        what is left; of a JPEG fewer are decoded, which takes less time.

        Other samples of sixteen bits, and all where there is no window: cameras write 10, 12 or 14 bits into them and
        do not say so. The smallest of these depths that holds the samples, but one in a thousand, is taken, and its
        high byte kept: no picture is black that is not. Transparency is dropped; CMYK, palettes and bits are converted
        as Pillow does, without a color profile. Of several frames, the first is taken; of bands beyond RGB, none.

        Raises ImageRefused with code `truncated`, `broken`, or `unsupported-format` for dark colors of sixteen bits
        that Pillow cannot read whole.
        """
        whole = self.width % factor == self.height % factor == 0
        # What is left at an end of the stored sides must be at the end of the displayed ones.
        if factor > 1 and self.format == "JPEG" and (whole or self.exif.orientation not in _FLIPPED):
            self._opened.draft(None, (self.width // factor, self.height // factor))
            factor = 1
        image = self._upright(lambda: read_rgb(self._opened, self._body, self._again, window, self._inverted))
        return image if factor == 1 else image.reduce(factor)

    def samples(self) -> NDArray[np.uint16]:
        """What a picture that has counts holds, (height, width), upright. Raises ImageRefused as `decode` does."""
        stored = np.asarray(self._upright(lambda: read_samples(self._again(), self._body)), np.uint16)
        return ~stored if self._inverted else stored

    def show(self) -> Image.Image:
        """As `decode`, for people's eyes: what has counts is stretched between its own darkest and brightest ones."""
        found = range_of(count_samples(self.samples()), _SHOWN_OUTLIERS) if self.has_counts else None
        return self.decode(RadiometricWindow(*found) if found and found[0] < found[1] else None)

    def _again(self) -> ImageFile.ImageFile:
        return _READERS[self.format](BytesIO(self._body))

    def _upright(self, read: Callable[[], Image.Image]) -> Image.Image:
        try:
            image = read()
            turn = _TRANSPOSES.get(self.exif.orientation)
            return image if turn is None else image.transpose(turn)
        except ImageRefused:
            raise
        except Exception as error:  # decoders raise anything for what they cannot read; it is never our caller's fault
            code = "truncated" if "truncated" in str(error) else "broken"
            raise ImageRefused(code, f"its pixels cannot be decoded: {_sentence(error)}") from error


def open_picture(body: bytes, formats: frozenset[Format] = LABELABLE) -> Picture:
    """Read a file's header and walk it to its end, without decoding a pixel.

    Raises ImageRefused with code `empty`, `too-large`, `not-an-image`, `unsupported-format`, `too-many-pixels`,
    `too-thin`, `too-complex`, `truncated` or `broken`.
    """
    if not body:
        raise ImageRefused("empty", "the file has 0 bytes")
    if len(body) > MAX_BYTES:
        raise too_large(len(body))
    kind = _format(body)
    if kind is None or kind not in formats:
        raise _unreadable(body, formats)
    try:
        stripped = strip(kind, body)
        opened = _READERS[kind](BytesIO(stripped.body))
    except ImageRefused:
        raise
    except Exception as error:  # readers raise anything for a header that they cannot read
        # A SyntaxError is Pillow's for what it has no mode for; other errors are of the file.
        if kind == "TIFF" and isinstance(error, SyntaxError) and (bands := tiff_bands(body)) > 1:
            raise _unclear_bands(bands) from error
        raise ImageRefused("broken", f"its header cannot be read: {_sentence(error)}") from error
    # Pillow takes the first band for gray, where planes are packed and the others are not said to be transparency.
    if kind == "TIFF" and len(opened.getbands()) == 1 and (bands := tiff_bands(stripped.body)) > 1:
        raise _unclear_bands(bands)
    _check_size(*opened.size)
    _check_slowness(kind, opened)
    if opened.mode in ("I", "F"):
        raise ImageRefused(
            "unsupported-format",
            "its values have 32 bits or a sign, and nothing says what is black and white: save it with 8 or 16",
        )
    if stripped.lacks is not None:
        raise stripped.lacks
    return Picture(kind, *opened.size, stripped.exif, opened, stripped.body, stripped.inverted)


def may_have_counts(head: bytes) -> bool:
    """Whether a file may have counts, by its first HEAD bytes: False where it has none, whatever follows."""
    if head.startswith(PNG_SIGNATURE) and head[12:16] == b"IHDR":
        return head[24:HEAD] == bytes((16, 0))  # bits a sample, and gray (PNG specification, section 11.2.2)
    return _format(head) in {"PNG", "TIFF"}


def media_type(body: bytes) -> Literal["image/jpeg", "image/png"] | None:
    """What the first bytes say that a file is; None when it is neither a JPEG nor a PNG."""
    if body.startswith(_JPEG_START):
        return "image/jpeg"
    return "image/png" if body.startswith(PNG_SIGNATURE) else None


def too_large(size: int) -> ImageRefused:
    """The refusal of a file of `size` bytes, more than MAX_BYTES: its content need not be read."""
    return ImageRefused("too-large", f"{size / 1e6:.1f} MB; Ground Truth takes at most {MAX_BYTES / 1e6:.0f} MB")


def _format(body: bytes) -> Format | None:
    if body.startswith(_JPEG_START):
        return "JPEG"
    if body.startswith(PNG_SIGNATURE):
        return "PNG"
    if body.startswith(b"RIFF") and body[8:12] == b"WEBP":
        return "WEBP"
    if body.startswith((b"II*\x00", b"MM\x00*")):
        return "TIFF"
    return "BMP" if body.startswith(b"BM") else None


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ImageRefused(
            "too-many-pixels",
            f"{width} × {height} pixels by its header; at most {MAX_PIXELS / 1e6:.0f} megapixels can be used:"
            " cut it into smaller pictures and use those",
        )
    if min(width, height) < MIN_SIDE or max(width, height) > MAX_ASPECT * min(width, height):
        raise ImageRefused(
            "too-thin",
            f"{width} × {height} pixels; a detector needs at least {MIN_SIDE} on each side, and no side more than"
            f" {MAX_ASPECT} times the other",
        )


def _check_slowness(kind: Format, opened: ImageFile.ImageFile) -> None:
    """Raises ImageRefused where the pixels, stored as they are, are too many to be decoded in time."""
    if has_sixteen_bits(opened):
        most, stored, instead = _MAX_WIDE_PIXELS, "of sixteen bits a sample", "with eight"
    elif kind == "BMP" and opened.tile[0].codec_name == "bmp_rle":
        most, stored, instead = _MAX_RUN_PIXELS, "in runs", "without compression"
    elif kind == "WEBP":
        most, stored, instead = _MAX_SLOW_PIXELS, "in a WebP", "as JPEG or PNG"
    elif opened.mode in _SLOW_COLORS:
        most, stored, instead = _MAX_SLOW_PIXELS, f"with {opened.mode} colors", "as RGB"
    else:
        return
    if opened.width * opened.height > most:
        raise ImageRefused(
            "too-many-pixels",
            f"{opened.width} × {opened.height} pixels {stored}; at most {most / 1e6:.0f} megapixels of these: save it"
            f" {instead}, or cut it into smaller pictures",
        )


def _unclear_bands(bands: int) -> ImageRefused:
    return ImageRefused(
        "unsupported-format",
        f"nothing says which of its {bands} bands, stored as they are, a detector should see: save one of them as gray,"
        " or three as RGB",
    )


def _unreadable(body: bytes, formats: frozenset[Format]) -> ImageRefused:
    for offset, signature, what in _OTHER_SIGNATURES:
        if body[offset : offset + len(signature)] == signature:
            *names, last = sorted(formats)
            return ImageRefused("unsupported-format", f"it is {what} file; {', '.join(names)} and {last} only")
    head = body[:64]
    if head.strip(b"\x00") == b"":
        return ImageRefused("not-an-image", "it is filled with zero bytes")
    printable = sum(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head)
    if printable == len(head):
        return ImageRefused("not-an-image", f"it is text, beginning {head[:40].decode('ascii')!r}")
    return ImageRefused("not-an-image", f"it begins with {head[:8].hex(' ')}, which is no picture that can be read")


def _sentence(error: Exception) -> str:
    return str(error) or type(error).__name__
