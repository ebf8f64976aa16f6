"""The few EXIF tags that Skyloop reads, each on its own: what cannot be read is absent, and nothing is ever raised.

A camera's metadata is optional: whatever is wrong with it, the picture is as good as without it. Reading is bounded: a
handful of tags in three directories, whatever else the block claims to hold. Source: Exif 2.32, sections 4.5 and 4.6;
TIFF 6.0, section 2.
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass, field
from datetime import datetime, timedelta

_ENTRIES = 1000  # of a directory that are looked at; cameras write some fifty
_TEXT_BYTES = 64  # of a text that are read: a time and its offset need 30

# Tags: Exif 2.32, tables 4 to 15.
_ORIENTATION, _DATE_TIME, _EXIF_DIRECTORY, _GPS_DIRECTORY = 0x0112, 0x0132, 0x8769, 0x8825
_DATE_TIME_ORIGINAL, _OFFSET_TIME, _OFFSET_TIME_ORIGINAL = 0x9003, 0x9010, 0x9011
_LATITUDE_REFERENCE, _LATITUDE, _LONGITUDE_REFERENCE, _LONGITUDE = 1, 2, 3, 4
_ASCII, _SHORT, _LONG, _RATIONAL = 2, 3, 4, 5
_SIZES = {1: 1, _ASCII: 1, _SHORT: 2, _LONG: 4, _RATIONAL: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}

_TIME = re.compile(
    r"(\d{4})[:/-](\d{1,2})[:/-](\d{1,2})[ T]\s*(\d{1,2}):(\d{1,2}):(\d{1,2})(?:[.,]\d+)?\s*(Z|[+-]\d{2}:?\d{2})?"
)


@dataclass(frozen=True)
class Exif:
    """What a picture's metadata says.

    orientation: 1 to 8, how the stored pixels are turned (tag 274); 1 where it says nothing that can be.
    captured_at: ISO 8601 in the camera's own time, with an offset where it wrote one.
    latitude, longitude: degrees, both or neither.
    """

    orientation: int = 1
    captured_at: str | None = None
    latitude: float | None = None
    longitude: float | None = None


@dataclass
class _Block:
    """A TIFF structure in memory."""

    data: bytes
    order: str = "<"
    directory: dict[int, tuple[int, int, int]] = field(default_factory=dict)  # tag -> type, count, where its value is

    def entries(self, offset: int) -> dict[int, tuple[int, int, int]]:
        """The directory at an offset; empty where there is none."""
        found: dict[int, tuple[int, int, int]] = {}
        if not 8 <= offset <= len(self.data) - 2:
            return found
        (count,) = struct.unpack_from(f"{self.order}H", self.data, offset)
        for number in range(min(count, _ENTRIES)):
            at = offset + 2 + 12 * number
            if at + 12 > len(self.data):
                break
            tag, kind, values = struct.unpack_from(f"{self.order}HHI", self.data, at)
            size = _SIZES.get(kind, 0) * values
            where = at + 8 if size <= 4 else struct.unpack_from(f"{self.order}I", self.data, at + 8)[0]
            if size > 0 and where + min(size, _TEXT_BYTES) <= len(self.data):
                found.setdefault(tag, (kind, values, where))
        return found

    def number(self, entry: tuple[int, int, int] | None) -> int | None:
        """One whole number."""
        if entry is None or entry[0] not in (_SHORT, _LONG):
            return None
        value: int = struct.unpack_from(self.order + ("H" if entry[0] == _SHORT else "I"), self.data, entry[2])[0]
        return value

    def text(self, entry: tuple[int, int, int] | None) -> str:
        """A text, without what pads it."""
        if entry is None or entry[0] != _ASCII:
            return ""
        raw = self.data[entry[2] : entry[2] + min(entry[1], _TEXT_BYTES)]
        return raw.partition(b"\x00")[0].decode("ascii", "replace").strip()

    def rationals(self, entry: tuple[int, int, int] | None, count: int) -> list[float]:
        """`count` fractions; empty where they are not that many, or one has no value."""
        if entry is None or entry[0] != _RATIONAL or entry[1] != count or entry[2] + 8 * count > len(self.data):
            return []
        numbers = struct.unpack_from(f"{self.order}{2 * count}I", self.data, entry[2])
        pairs = list(zip(numbers[::2], numbers[1::2], strict=True))
        return [above / below for above, below in pairs] if all(below for _, below in pairs) else []


def read_exif(block: bytes) -> Exif:
    """Read a TIFF structure: a JPEG's Exif segment after its six bytes of name, a PNG's eXIf chunk, or a TIFF file."""
    orders = {b"II*\x00": "<", b"MM\x00*": ">"}
    if len(block) < 8 or block[:4] not in orders:
        return Exif()
    tiff = _Block(block, orders[block[:4]])
    main = tiff.entries(struct.unpack_from(f"{tiff.order}I", block, 4)[0])
    details = tiff.entries(tiff.number(main.get(_EXIF_DIRECTORY)) or 0)
    gps = tiff.entries(tiff.number(main.get(_GPS_DIRECTORY)) or 0)
    orientation = tiff.number(main.get(_ORIENTATION)) or 1
    original = _time(tiff.text(details.get(_DATE_TIME_ORIGINAL)), tiff.text(details.get(_OFFSET_TIME_ORIGINAL)))
    latitude, longitude = _position(tiff, gps)
    return Exif(
        orientation=orientation if 1 <= orientation <= 8 else 1,
        captured_at=original or _time(tiff.text(main.get(_DATE_TIME)), tiff.text(details.get(_OFFSET_TIME))),
        latitude=latitude,
        longitude=longitude,
    )


def _time(text: str, offset: str) -> str | None:
    """ISO 8601 of an EXIF time, in the ways in which cameras and editors write it; None for what is no time.

    An offset within the text goes before the tag's. Seconds 60 and hour 24 are the next minute and day, as clocks that
    write them mean. Years before 1990 are those of a camera whose clock was never set.
    """
    found = _TIME.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second = (int(part) for part in found.groups()[:6])
    if year < 1990 or hour > 24 or minute > 59 or second > 60:
        return None
    try:
        taken = datetime(year, month, day) + timedelta(hours=hour, minutes=minute, seconds=second)
    except (ValueError, OverflowError):
        return None
    zone = re.fullmatch(r"([+-])(\d\d):?(\d\d)", found[7] or offset)
    if found[7] == "Z" or (not found[7] and offset == "Z"):
        return taken.isoformat() + "+00:00"
    if zone is None or int(zone[2]) > 15 or int(zone[3]) > 59:
        return taken.isoformat()
    return f"{taken.isoformat()}{zone[1]}{zone[2]}:{zone[3]}"


def _position(tiff: _Block, gps: dict[int, tuple[int, int, int]]) -> tuple[float | None, float | None]:
    latitude = _degrees(tiff, gps, _LATITUDE, _LATITUDE_REFERENCE, "S", 90)
    longitude = _degrees(tiff, gps, _LONGITUDE, _LONGITUDE_REFERENCE, "W", 180)
    # Receivers without a fix write 0, 0: a spot in the sea off Ghana.
    if latitude is None or longitude is None or (latitude == 0 and longitude == 0):
        return None, None
    return latitude, longitude


def _degrees(
    tiff: _Block, gps: dict[int, tuple[int, int, int]], tag: int, reference: int, negative: str, limit: int
) -> float | None:
    parts = tiff.rationals(gps.get(tag), 3)
    if not parts:
        return None
    total = parts[0] + parts[1] / 60 + parts[2] / 3600
    if not math.isfinite(total) or total > limit:
        return None
    return round(-total if tiff.text(gps.get(reference)).upper().startswith(negative) else total, 7)
