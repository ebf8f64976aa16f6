"""From a file that Pillow opened to RGB of eight bits, and no pixel black that the file does not say is black.

Pillow reads some files as black, in whole or in part, without an error. Each is mended here, or :class:`ImageRefused`:

- samples of sixteen bits of which fewer are used: of colors Pillow keeps the high byte, which is 0 to 15 for 12 bits,
  and a thermal frame spans a few hundred values somewhere among 65,536, for which there is a window;
- a PNG whose compressed data ends, in good order, before its last row; a palette that is shorter than its indexes say;
- a TIFF whose color map is of eight bits, not sixteen.

The data of a JPEG may end early too, before an end marker that was put there. That is seen where there is less of it
than any picture of that size has (`picture_files`), and not otherwise: libjpeg says so in a warning which Pillow does
not pass on, and only decoding again would find it.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImagePalette, PngImagePlugin, TiffImagePlugin

from skyloop.formats.picture_files import ImageRefused

_DEPTHS = (8, 10, 12, 14, 16)
_VALUES = 2**16
_OUTLIERS = 1000  # one sample in so many may be brighter than the range that the others have
_PIECE = 2**16  # bytes of compressed data
_ROOM = 2**20  # bytes of decompressed data that are held at a time
_STRIP = 2**16  # pixels that are scaled at a time: they stay in the processor's cache

_OTHER_ORDER = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}
_SWAPPED = {"RGB", "RGBA", "RGBX", "CMYK"}  # raw modes that Pillow reads in either order of bytes
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by color type (PNG specification, section 6.1)
_BITS_PER_SAMPLE, _PLANAR_CONFIGURATION, _COLOR_MAP = 258, 284, 320  # tags of a TIFF
_SEPARATE = 2


@dataclass(frozen=True, slots=True)
class RadiometricWindow:
    """Which samples of gray of sixteen bits make the 256 grays of eight, in counts of the camera, 0 to 65535.

    `low` and what is less are black, `high` and what is more white; between them gray rises evenly. Raises ValueError
    where they are no such counts, or not in order.
    """

    low: int
    high: int

    def __post_init__(self) -> None:
        if not (type(self.low) is type(self.high) is int and 0 <= self.low < self.high < _VALUES):
            raise ValueError(f"no radiometric window: {self.low!r} to {self.high!r}, of counts from 0 to {_VALUES - 1}")

    @classmethod
    def from_text(cls, text: str) -> RadiometricWindow:
        """The window in a text such as 20000-24000, which is what `str` makes of one. Raises ValueError."""
        low, _, high = text.partition("-")
        return cls(int(low), int(high))

    def __str__(self) -> str:
        return f"{self.low}-{self.high}"

    def table(self) -> NDArray[np.uint8]:
        """The gray of each sample, (65536,)."""
        span = self.high - self.low
        return ((np.arange(-self.low, _VALUES - self.low).clip(0, span) * 255 + span // 2) // span).astype(np.uint8)


def count_samples(samples: NDArray[np.uint16]) -> NDArray[np.int64]:
    """How many samples have each value, (65536,) int64."""
    return np.bincount(samples.ravel(), minlength=_VALUES)


def range_of(counts: NDArray[np.int64], outliers: float) -> tuple[int, int] | None:
    """The least and the largest sample but for a share at either end, from how many have each value.

    0 and 65535 do not count: they stand for no data. None where there are no others.
    """
    below = counts[:-1].cumsum() - counts[0]
    if not below[-1]:
        return None
    low = np.searchsorted(below, outliers * below[-1], side="right")
    return int(low), int(np.searchsorted(below, (1 - outliers) * below[-1]))


def is_gray_of_sixteen_bits(opened: ImageFile.ImageFile) -> bool:
    """Whether a file that was opened has one sample of sixteen bits a pixel, without transparency."""
    return opened.mode.startswith("I;16")


def has_sixteen_bits(opened: ImageFile.ImageFile) -> bool:
    """Whether a file that was opened has samples of sixteen bits."""
    return is_gray_of_sixteen_bits(opened) or (bool(opened.tile) and "16" in _raw_mode(opened))


def read_rgb(
    opened: ImageFile.ImageFile,
    body: bytes,
    again: Callable[[], ImageFile.ImageFile],
    window: RadiometricWindow | None,
    inverted: bool = False,
) -> Image.Image:
    """Every pixel of a file that was opened and not loaded, as mode RGB.

    body: the file, a PNG's with its data in one chunk before the last. again: opens the same file once more. window: of
    gray of sixteen bits; without one, the picture's own depth is what counts. inverted: gray of sixteen bits stands for
    65535 less what it is.

    Raises ImageRefused, and whatever Pillow raises.
    """
    entries = _palette_entries(opened)
    wide = _wide_raw_mode(opened)
    _load(opened, body)
    if entries is not None:
        largest = int(np.asarray(opened).max())
        if largest >= entries:
            raise ImageRefused("broken", f"a pixel has color {largest} of a palette of {entries}")
    if is_gray_of_sixteen_bits(opened):  # Pillow's own conversion would clip at 255
        return _narrowed(opened, window, inverted)
    if wide is not None:
        _widen(opened, wide, again)
    return opened if opened.mode == "RGB" else opened.convert("RGB")


def read_samples(opened: ImageFile.ImageFile, body: bytes) -> Image.Image:
    """Every sample of gray of sixteen bits, of a file as `read_rgb` takes it. Raises what that does."""
    _load(opened, body)
    return opened


def _load(opened: ImageFile.ImageFile, body: bytes) -> None:
    at = opened.tile[0].offset if opened.tile else 0
    opened.load()
    if isinstance(opened, PngImagePlugin.PngImageFile):
        _check_rows(opened, body, at)


# ── Samples of sixteen bits ──────────────────────────────────────────────────────────────────────────────────────────


def _narrowed(opened: Image.Image, window: RadiometricWindow | None, inverted: bool) -> Image.Image:
    def samples(box: tuple[int, int, int, int]) -> NDArray[np.uint16]:
        stored = np.asarray(opened.crop(box))
        return ~stored if inverted else stored

    gray_of: Callable[[NDArray[np.uint16]], NDArray[np.uint8]]
    if window is None:
        counts = np.zeros(_VALUES, np.int64)
        for box in _strips(opened):
            counts += count_samples(samples(box))
        gray_of = partial(_high, depth=_depth(counts))
    else:
        gray_of = window.table().take
    narrow = Image.new("RGB", opened.size)
    for box in _strips(opened):
        narrow.paste(Image.fromarray(gray_of(samples(box))), box[:2])
    return narrow


def _wide_raw_mode(opened: ImageFile.ImageFile) -> str | None:
    """How the pixels of a file are stored whose colors have sixteen bits; None of all others. Raises ImageRefused."""
    if not opened.tile:
        return None
    raw = _raw_mode(opened)
    if isinstance(opened, TiffImagePlugin.TiffImageFile) and opened.tag_v2.get(_PLANAR_CONFIGURATION) == _SEPARATE:
        if 16 not in opened.tag_v2.get(_BITS_PER_SAMPLE, ()) or opened.mode.startswith("I;16"):
            return None
        if not raw.endswith("16N"):  # Pillow takes the planes for ones of eight bits, unless libtiff reads them
            raise _unknown_range()
        return "separate"
    name, _, order = raw.partition(";16")
    return raw if name not in ("", "I") and order in _OTHER_ORDER else None


def _widen(opened: Image.Image, raw: str, again: Callable[[], ImageFile.ImageFile]) -> None:
    """Scale what was read of the high bytes of colors, in place, by the range of the whole samples."""
    bands = 4 if opened.mode == "CMYK" else 3  # transparency is dropped, and its range says nothing
    high = np.array(opened.histogram()[: 256 * bands])
    used = high.reshape(bands, 256).sum(axis=0)
    if used[64:255].sum() > _allowed(int(used.sum())):  # sixteen bits whatever the low bytes are
        return
    name, _, order = raw.partition(";16")
    gray = name == "LA"
    if not gray and name not in _SWAPPED:
        raise _unknown_range()
    other = again()
    # The low bytes, by reading in the other order. Gray with alpha has four bytes: high, low, and those of the alpha.
    low = "RGBA" if gray else f"{name};16{_OTHER_ORDER[order]}"
    for number, tile in enumerate(other.tile):
        args = (low, *tile.args[1:]) if isinstance(tile.args, tuple) else low
        other.tile[number] = tile._replace(args=args)
    other.load()

    def samples(box: tuple[int, int, int, int]) -> NDArray[np.uint16]:
        top = np.asarray(opened.crop(box))[..., :bands].astype(np.uint16)
        bottom = np.asarray(other.crop(box))
        whole: NDArray[np.uint16] = top << 8 | (bottom[..., 1:2] if gray else bottom[..., :bands])
        return whole

    counts = np.zeros(_VALUES, np.int64)
    for box in _strips(opened):
        counts += count_samples(samples(box))
    depth = _depth(counts)
    for box in _strips(opened):
        pixels = np.array(opened.crop(box))
        pixels[..., :bands] = _high(samples(box), depth)
        size = (pixels.shape[1], pixels.shape[0])
        opened.paste(Image.frombytes(opened.mode, size, pixels.tobytes()), box[:2])


def _depth(counts: NDArray[np.int64]) -> int:
    """How many bits are used, by how many samples have each of the values.

    The smallest depth is taken that holds all samples but one in a thousand, or one: a hot pixel does not make a
    picture dark. 0 and 65535 do not count: they stand for no data, and are black and white in any depth.
    """
    inner = counts[:-1].copy()
    inner[0] = 0
    allowed = _allowed(int(inner.sum()))
    return min(depth for depth in _DEPTHS if inner[2**depth :].sum() <= allowed)


def _high(samples: NDArray[np.uint16], depth: int) -> NDArray[np.uint8]:
    """The high byte of samples of a depth; white where a sample is beyond it."""
    high: NDArray[np.uint8] = np.minimum(samples >> (depth - 8), 255).astype(np.uint8)
    return high


def _allowed(samples: int) -> int:
    return max(1, samples // _OUTLIERS)


def _strips(image: Image.Image) -> Iterator[tuple[int, int, int, int]]:
    width, height = image.size
    rows = max(1, _STRIP // width)
    return ((0, top, width, min(top + rows, height)) for top in range(0, height, rows))


def _raw_mode(opened: ImageFile.ImageFile) -> str:
    args = opened.tile[0].args
    first = args[0] if isinstance(args, tuple) and args else args
    return first if isinstance(first, str) else ""


def _unknown_range() -> ImageRefused:
    return ImageRefused(
        "unsupported-format",
        "it has sixteen bits per color sample, stored so that their range cannot be known: convert it to eight",
    )


# ── Palettes ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _palette_entries(opened: ImageFile.ImageFile) -> int | None:
    """How many colors the palette has that the file holds; None where it has no indexes. Mends a TIFF's palette."""
    if opened.mode not in ("P", "PA"):
        return None
    if isinstance(opened, TiffImagePlugin.TiffImageFile):
        values = opened.tag_v2[_COLOR_MAP]
        if max(values) < 256:  # a color map has sixteen bits (TIFF 6.0, section 5); some writers fill in eight
            opened.palette = ImagePalette.raw("RGB;L", bytes(values))
    if opened.mode == "PA":
        return None
    if opened.palette is None:
        return 0
    raw, data = opened.palette.getdata()
    return len(data) // len(raw.partition(";")[0])


# ── Rows of a PNG ────────────────────────────────────────────────────────────────────────────────────────────────────


def _check_rows(opened: PngImagePlugin.PngImageFile, body: bytes, at: int) -> None:
    """Raises ImageRefused where the data that begins at `at` ends before the last row."""
    width, height = opened.size
    last = opened.crop((0, height - 1, width, height))
    if not opened.info.get("interlace") and np.asarray(last).any():  # rows come in order: this one was there
        return
    if body[12:16] != b"IHDR" or body[16:24] != width.to_bytes(4, "big") + height.to_bytes(4, "big"):
        raise ImageRefused("broken", "its header is not its first chunk, or not its only one")
    bits = body[24] * _CHANNELS[body[25]]
    passes = _ADAM7 if opened.info.get("interlace") else ((0, 0, 1, 1),)
    wanted = 0
    for left, top, across, down in passes:
        columns, rows = -((left - width) // across), -((top - height) // down)
        wanted += rows * (1 + (columns * bits + 7) // 8) if columns > 0 else 0
    found = _inflated(memoryview(body)[at:-16], wanted)
    if found < wanted:
        raise ImageRefused("truncated", f"its data ends after {found} of {wanted} bytes: an interrupted export?")


def _inflated(data: memoryview, enough: int) -> int:
    """How many bytes compressed data holds, counted up to `enough`, of which few are held at a time."""
    inflater = zlib.decompressobj()
    total = 0
    for at in range(0, len(data), _PIECE):
        piece: bytes | memoryview = data[at : at + _PIECE]
        while True:
            number = len(inflater.decompress(piece, _ROOM))
            total += number
            piece = inflater.unconsumed_tail
            if total >= enough or inflater.eof:
                return total
            if number < _ROOM:
                break
    return total
