"""The walk through a picture's file before a decoder sees it: is it whole, can it be slow, what decides about pixels?

Decoders paint a missing tail gray, parse whatever metadata they meet, and believe what a header claims. So each format
is walked here first, by its own specification, and what makes a decoder slow or large is counted.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from skyloop.formats.exif import Exif, read_exif

Format = Literal["JPEG", "PNG", "WEBP", "BMP", "TIFF"]

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

_MAX_SCANS = 100  # of a progressive JPEG; encoders write about ten
_MAX_SCANNED = 2_000_000_000  # pixels, counted once for each scan: 3 to 4 s
_MAX_SEGMENTS = 5_000  # of a JPEG; a profile has at most 255, extended XMP some hundreds
_MAX_FILL = 100_000  # bytes between segments
_MAX_CHUNKS = 100_000  # of a PNG
_MAX_ENTRIES = 1_000  # of a TIFF's directory
_MAX_NUMBERS = 2_000_000  # bytes of it that are numbers: readers make objects of them, up to forty times as large
_MAX_STRIPS = 100_000  # or tiles of a TIFF: a strip is a row at least
_MAX_TILED = 4  # times its pixels that the tiles of a TIFF may cover, of which the last ones reach beyond it
_USUAL_TILE = 2**20  # pixels: so many the tiles of a small TIFF may cover
_MAX_RUNS = 1_000_000  # bytes of a BMP in runs, which Pillow walks in Python: 0.3 to 0.6 s
# A marker of a JPEG, after any number of fill bytes, that has a length or is the end: FF 00 is a data byte within a
# scan, TEM and the restart markers stand alone (ITU-T T.81, B.1.1). Beginning with one byte, it is searched for at ten
# times the speed of a pattern that begins with any number of fill bytes.
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
_SCAN_MARKER = b"\xff\xda"
_END_OF_IMAGE, _START_OF_SCAN, _ADOBE, _EXIF_SEGMENT = 0xD9, 0xDA, 0xEE, 0xE1
_FRAME_HEADERS = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # they say how large the picture is
_SEQUENTIAL, _PROGRESSIVE = {0xC0, 0xC1}, 0xC2  # of these, those with Huffman's codes
_METADATA_MARKERS = {*range(0xE1, 0xF0), 0xFE} - {_ADOBE}  # application segments and comments; Adobe's says the colors
_PIXEL_CHUNKS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}


class ImageRefused(ValueError):
    """This file cannot be used. `code` is for programs; the message says why, for a person."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Stripped:
    """A file with only what decides about its pixels, and what its metadata says.

    lacks: why it is refused, where the size that its header claims is one that may be.
    inverted: its samples are of sixteen bits and stand for 65535 less what they are; the header of `body` denies it.
    """

    body: bytes
    exif: Exif = field(default_factory=Exif)
    lacks: ImageRefused | None = None
    inverted: bool = False


def strip(kind: Format, body: bytes) -> Stripped:
    """The file of a kind, as far as its pixels need it.

    Raises ImageRefused with code `too-complex`, `truncated` or `broken`, and anything where a header is cut.
    """
    return _STRIP[kind](body)


def _too_complex(what: str) -> ImageRefused:
    return ImageRefused("too-complex", f"it has {what}, which no camera writes and decoding takes too long for")


# ── JPEG ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _strip_jpeg(body: bytes) -> Stripped:
    """The file without metadata, and its first Exif segment."""
    kept = [body[:2]]
    exif: bytes | None = None
    scans, pixels = 0, 0
    start = 2
    needed, data = 0, 0  # bytes of a scan's data, and where these begin
    frame: _JpegFrame | None = None
    lacks: ImageRefused | None = None
    for marker, at, end in _jpeg_segments(body):
        if at - data < needed and lacks is None:
            reason = f"the JPEG has {at - data} bytes where {needed} are the least for its size: an interrupted upload?"
            lacks = ImageRefused("truncated", reason)
        needed = 0
        if marker in _FRAME_HEADERS:
            frame = _JpegFrame(body[at:end])
            pixels = max(pixels, frame.height * frame.width)
        elif marker == _START_OF_SCAN:
            scans += 1
            if scans > _MAX_SCANS or scans * pixels > _MAX_SCANNED:
                raise _too_complex(f"{scans} scans or more")
            if frame is not None:
                needed, data = frame.least(body[at:end]), end
        elif marker in _METADATA_MARKERS and scans == 0:
            if exif is None and marker == _EXIF_SEGMENT and body[at + 4 : at + 10] == b"Exif\x00\x00":
                exif = body[at + 10 : end]
            kept.append(body[start:at])
            start = end
    kept.append(body[start:])
    return Stripped(b"".join(kept), read_exif(exif or b""), lacks)


class _JpegFrame:
    """What a frame's header says (ITU-T T.81, B.2.2). Raises struct.error where it is cut."""

    def __init__(self, segment: bytes) -> None:
        self._kind = segment[1]
        self.height: int
        self.width: int
        self.height, self.width, count = struct.unpack_from(">HHB", segment, 5)
        self._sampling: dict[int, tuple[int, int]] = {}  # across and down, by a component's identifier
        for number in range(count):
            identifier, factors = struct.unpack_from("BB", segment, 10 + 3 * number)
            self._sampling[identifier] = (factors >> 4, factors & 15)

    def least(self, segment: bytes) -> int:
        """The bytes without which a scan has not a bit for each code that it must have; 0 where it may have any.

        segment: the scan's header (T.81, B.2.3). A block has a code for its mean and, in sequential coding, one at
        least for the rest (F.1.2); in progressive coding a bit for its mean, and many blocks together one code for the
        rest (G.1.2). Arithmetic coding needs no whole bit for either.
        """
        count = segment[4]
        chosen = [self._sampling.get(segment[5 + 2 * number], (0, 0)) for number in range(count)]
        across = max((one for one, _ in self._sampling.values()), default=0)
        down = max((one for _, one in self._sampling.values()), default=0)
        if not (across and down):
            return 0
        if count == 1:  # of its own blocks those that reach into the picture (A.2.2); of several, whole units (A.2.3)
            columns, rows = chosen[0]
            blocks = -(-self.width * columns // (8 * across)) * -(-self.height * rows // (8 * down))
        else:
            units = -(-self.width // (8 * across)) * -(-self.height // (8 * down))
            blocks = units * sum(columns * rows for columns, rows in chosen)
        first = segment[5 + 2 * count]  # of the coefficients in this scan; 0 is the mean
        bits = 2 if self._kind in _SEQUENTIAL else int(self._kind == _PROGRESSIVE and first == 0)
        return -(-blocks * bits // 8)


def _jpeg_segments(body: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, begin and end of each segment, and of the end-of-image marker, up to it (ITU-T T.81, annex B).

    An embedded preview has an end marker of its own, and cameras append data after the real one: hence the walk. Raises
    ImageRefused where the file ends before its end marker.
    """
    at, fill = 2, 0
    for _ in range(_MAX_SEGMENTS):
        # The entropy-coded data after a scan's header is passed over by the search for the next marker.
        found = _MARKER.search(body, at)
        if found is None:
            break
        before = found.start() - 1
        while before >= at and body[before] == 0xFF:
            before, fill = before - 1, fill + 1
            if fill > _MAX_FILL:
                raise _too_complex(f"more than {_MAX_FILL} bytes between its segments")
        at = found.end()
        marker = body[at - 1]
        if marker == _END_OF_IMAGE:
            yield marker, at - 2, at
            return
        end = at + int.from_bytes(body[at : at + 2], "big")
        if at + 2 > len(body) or end > len(body):
            break
        yield marker, at - 2, end
        at = end
    else:
        raise _too_complex(f"more than {_MAX_SEGMENTS} segments")
    raise ImageRefused("truncated", "the JPEG ends before its end marker: an interrupted upload?")


# ── PNG ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _strip_png(body: bytes) -> Stripped:
    """The file with the chunks that decide about pixels, its data in one piece, and what its eXIf chunk holds."""
    kept = [PNG_SIGNATURE]
    data: list[bytes] = []
    exif = b""
    for kind, content in _png_chunks(body):
        if kind == b"IDAT":
            data.append(content)
        elif kind == b"eXIf":
            exif = content
        elif kind == b"IEND":
            kept.append(_png_chunk(b"IDAT", b"".join(data)))
            kept.append(_png_chunk(kind, b""))
        elif kind in _PIXEL_CHUNKS:
            kept.append(_png_chunk(kind, content))
    return Stripped(b"".join(kept), read_exif(exif.removeprefix(b"Exif\x00\x00")))


def _png_chunks(body: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Type and content of each chunk up to IEND (PNG specification, section 5). Raises ImageRefused."""
    at = len(PNG_SIGNATURE)
    for _ in range(_MAX_CHUNKS):
        if at + 12 > len(body):
            break
        length, kind = struct.unpack_from(">I4s", body, at)
        end = at + 12 + length
        if end > len(body):
            break
        content = body[at + 8 : end - 4]
        checksum = int.from_bytes(body[end - 4 : end], "big")
        if kind in _PIXEL_CHUNKS and zlib.crc32(content, zlib.crc32(kind)) != checksum:
            raise ImageRefused("broken", f"the checksum of its {kind.decode('ascii')} is wrong")
        yield kind, content
        if kind == b"IEND":
            return
        at = end
    else:
        raise _too_complex(f"more than {_MAX_CHUNKS} chunks")
    raise ImageRefused("truncated", "the PNG ends before its end marker: an interrupted upload?")


def _png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", len(content), kind) + content + struct.pack(">I", zlib.crc32(content, zlib.crc32(kind)))


# ── The endpoint's other formats ─────────────────────────────────────────────────────────────────────────────────────

_IMAGE_WIDTH, _IMAGE_LENGTH, _TILE_WIDTH, _TILE_LENGTH = 256, 257, 322, 323
_COMPRESSION, _SAMPLES_PER_PIXEL, _ROWS_PER_STRIP = 259, 277, 278
_OFFSETS, _LENGTHS = (273, 324), (279, 325)  # of strips, or of tiles: Pillow looks at each
_COLOR_MAP, _MAX_COLORS = 320, 2**16
_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262
_WHITE_IS_ZERO, _BLACK_IS_ZERO = 0, 1
# What decides about pixels: shape, compression and its options, orientation, strips, tiles, samples, JPEG tables and
# YCbCr. The rest can only fail a picture: Pillow and libtiff want some of it in one form.
_PIXEL_TAGS = {*range(256, 260), 262, 266, 273, 274, *range(277, 280), 284, 292, 293, 317, *range(320, 326)}
_PIXEL_TAGS |= {338, 339, 347, *range(529, 533)}
_UNKNOWN_TAG = 65000  # to any reader, as those after it
_OLD_JPEG, _JPEG = 6, 7  # kinds of compression
_INTEGERS = {3: "H", 4: "I"}  # types of whole numbers, and how they are stored
_OPAQUE = {1, 2, 7}  # types whose values readers leave together: bytes, a text, what is not defined
_MAX_PLANES = 5  # that may be stored one after the other: CMYK and alpha
# Bytes of a value by its type: TIFF 6.0, section 2; 16 to 18 are BigTIFF's, of which Pillow reads one here too.
_TIFF_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}


def _check_tiff(body: bytes) -> Stripped:
    """The file without the directories beside its first, of which nothing claims more than there is.

    A decoder has each tile whole in memory, also what of it lies outside of the picture. Pillow turns TIFFs upright.
    Where zero is white, it inverts samples of up to eight bits; of sixteen it takes some as they are, and none of the
    other order of bytes.
    """
    directory = _TiffDirectory(body)
    width, length = directory.number(_IMAGE_WIDTH, 0), directory.number(_IMAGE_LENGTH, 0)
    across, down = directory.number(_TILE_WIDTH, 0), directory.number(_TILE_LENGTH, 0)
    strips = max(len(directory.numbers(tag)) for tag in _OFFSETS + _LENGTHS)
    if strips > min(_MAX_STRIPS, _MAX_PLANES * width * length):
        raise _too_complex(f"{strips} strips or tiles")
    if across and down:
        covered = -(-width // across) * across * -(-length // down) * down
        if covered > max(_MAX_TILED * width * length, _USUAL_TILE):
            raise _too_complex(f"tiles of {across} × {down} pixels")
    compression = directory.number(_COMPRESSION, 1)
    if compression == _OLD_JPEG:
        raise ImageRefused("unsupported-format", "it is a TIFF with JPEG data of the old kind: save it again")
    pixels = across * down or width * min(directory.number(_ROWS_PER_STRIP, length), length)
    if compression == _JPEG and directory.scans() * pixels > _MAX_SCANNED:
        raise _too_complex("many scans in its JPEG data")
    inverted = directory.number(_PHOTOMETRIC, _BLACK_IS_ZERO) == _WHITE_IS_ZERO and directory.is_wide_gray()
    return Stripped(directory.alone({_PHOTOMETRIC: _BLACK_IS_ZERO} if inverted else {}), inverted=inverted)


def tiff_bands(body: bytes) -> int:
    """How many samples a pixel of a TIFF has by its header; 0 where it cannot be read."""
    try:
        return _TiffDirectory(body).number(_SAMPLES_PER_PIXEL, 1)
    except (ImageRefused, struct.error):
        return 0


class _TiffDirectory:
    """The first directory of a TIFF. Raises ImageRefused where it claims too much, and struct.error where it is cut."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._order = "<" if body.startswith(b"II") else ">"
        (offset,) = struct.unpack_from(f"{self._order}I", body, 4)
        (count,) = struct.unpack_from(f"{self._order}H", body, offset)
        self._entries: dict[int, tuple[int, int, int]] = {}  # by tag: type, how many values, where they stand
        self._twice: set[int] = set()
        self._others: list[int] = []  # where the entries stand that decide about no pixel
        claimed, as_numbers = 0, 0
        for entry in range(offset + 2, offset + 2 + 12 * count, 12):
            tag, kind, values, place = struct.unpack_from(f"{self._order}HHII", body, entry)
            size = _TIFF_SIZES.get(kind, 8) * values
            claimed += size
            as_numbers += 0 if kind in _OPAQUE else size
            if tag in self._entries:
                self._twice.add(tag)
            if tag not in _PIXEL_TAGS:
                self._others.append(entry)
            if tag == _COLOR_MAP and values > 3 * _MAX_COLORS:
                raise _too_complex(f"a color map of more than {_MAX_COLORS} colors")
            self._entries[tag] = (kind, values, entry + 8 if size <= 4 else place)
        if count > _MAX_ENTRIES or claimed > len(body) or as_numbers > _MAX_NUMBERS:
            raise _too_complex("a directory that claims more than the file holds, or than a picture needs")

    def numbers(self, tag: int) -> tuple[int, ...]:
        """The whole numbers of a tag. Raises ImageRefused where readers would not agree about them."""
        if tag not in self._entries:
            return ()
        kind, values, place = self._entries[tag]
        if tag in self._twice or kind not in _INTEGERS:
            raise ImageRefused("broken", f"its header has tag {tag} twice, or not in whole numbers")
        return struct.unpack_from(f"{self._order}{values}{_INTEGERS[kind]}", self._body, place)

    def number(self, tag: int, default: int) -> int:
        """The one whole number of a tag. Raises ImageRefused where it has more."""
        found = self.numbers(tag) or (default,)
        if len(found) > 1:
            raise ImageRefused("broken", f"its header has {len(found)} numbers for tag {tag}")
        return found[0]

    def is_wide_gray(self) -> bool:
        """Whether a pixel is one sample of sixteen bits."""
        return self.number(_SAMPLES_PER_PIXEL, 1) == 1 and self.numbers(_BITS_PER_SAMPLE) == (16,)

    def scans(self) -> int:
        """Scans of the JPEG data in all strips or tiles. Raises ImageRefused where these overlap or are not told.

        To a decoder a strip of no bytes is one whose length is not told.
        """
        places = [one for tag in _OFFSETS for one in self.numbers(tag)]
        sizes = [one for tag in _LENGTHS for one in self.numbers(tag)]
        if not sizes or 0 in sizes or len(sizes) != len(places):
            raise ImageRefused("broken", "its header does not say how long its strips or tiles are")
        if sum(sizes) > len(self._body):
            raise _too_complex("strips or tiles that overlap")
        return sum(self._body.count(_SCAN_MARKER, at, at + size) for at, size in zip(places, sizes, strict=True))

    def alone(self, changed: dict[int, int]) -> bytes:
        """The file, of which no reader finds other directories, or metadata that could fail it: each is a zero byte.

        changed: a new value of tags that have one whole number.
        """
        if not self._others and not changed:
            return self._body
        kept = bytearray(self._body)
        for number, entry in enumerate(self._others):
            struct.pack_into(f"{self._order}HHII", kept, entry, _UNKNOWN_TAG + number, 1, 1, 0)
        for tag, value in changed.items():
            kind, _, place = self._entries[tag]
            struct.pack_into(f"{self._order}{_INTEGERS[kind]}", kept, place, value)
        return bytes(kept)


def _check_bmp(body: bytes) -> Stripped:
    """The file as it is. Byte 14 says how long its second header is, and byte 30 of a long one whether it has runs."""
    size, compression = struct.unpack_from("<I12xI", body, 14)
    if size > 12 and compression in (1, 2) and len(body) > _MAX_RUNS:
        raise _too_complex(f"more than {_MAX_RUNS} bytes of runs")
    return Stripped(body)


def _check_webp(body: bytes) -> Stripped:
    """The file as it is, and its EXIF chunk (WebP container specification, "Metadata")."""
    at = 12
    for _ in range(_MAX_ENTRIES):
        if at + 8 > len(body):
            return Stripped(body)
        kind, size = struct.unpack_from("<4sI", body, at)
        if kind == b"EXIF":
            return Stripped(body, read_exif(body[at + 8 : at + 8 + size].removeprefix(b"Exif\x00\x00")))
        at += 8 + size + size % 2
    raise _too_complex(f"more than {_MAX_ENTRIES} chunks")


_STRIP: dict[Format, Callable[[bytes], Stripped]] = {
    "JPEG": _strip_jpeg,
    "PNG": _strip_png,
    "WEBP": _check_webp,
    "BMP": _check_bmp,
    "TIFF": _check_tiff,
}
