"""Files that pretend to be images, and keys that trip URL decoding. Each pair: name below the flight, content."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path


def png(width: int, height: int, rows: bytes) -> bytes:
    """A PNG whose header claims `width`×`height` gray pixels and whose data inflates to `rows`."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


def unusable(good: Path) -> dict[str, bytes]:
    """Names and contents that must end in quarantine, each with a reason."""
    body = good.read_bytes()
    return {
        "a text.jpg": b"this is not an image\n" * 20,
        "truncated.jpg": body[: len(body) // 2],
        "empty.jpg": b"",
        "claims-30000.png": png(30_000, 30_000, b"\x00"),
        "bomb.png": png(9_000, 12_000, bytes(12_000 * 9_001)),
    }


ODD_NAMES = ("with space.jpg", "a+b.jpg", "percent%2Fslash.jpg", "überflug-写真.jpg", "up..down.jpg", "new\nline.jpg")
