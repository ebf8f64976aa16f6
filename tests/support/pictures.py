"""Pictures drawn on the spot, and their bytes as image files."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from itertools import product
from typing import Any

import numpy as np
from PIL import Image

BLACK, WHITE = "black", "white"


def picture(width: int = 64, height: int = 48, *, seed: int = 0, mode: str = "RGB") -> Image.Image:
    """A picture of noise: no two seeds alike, and nothing that compresses away."""
    shape = (height, width) if mode == "L" else (height, width, 3)
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8), mode=None)


def encoded(image: Image.Image, format_name: str = "JPEG", **options: Any) -> bytes:
    """The bytes of an image file."""
    buffer = BytesIO()
    image.save(buffer, format_name, **options)
    return buffer.getvalue()


def sixteen_bit_files(samples: np.ndarray) -> dict[str, bytes]:
    """One picture of (height, width) uint16 in every way in which files hold gray of sixteen bits, by what it is."""
    height, width = samples.shape
    files = {"PNG": encoded(Image.fromarray(samples), "PNG")}
    for order, packed, zero in product("<>", (False, True), (BLACK, WHITE)):
        how = f"TIFF, {'little' if order == '<' else 'big'} endian, {'packed' if packed else 'plain'}, zero is {zero}"
        stored = ~samples if zero == WHITE else samples
        for part, size in {"one strip": (height, width), "strips": (7, width), "tiles": (16, 32)}.items():
            files[f"{how}, {part}"] = _gray_tiff(stored, order, packed, size, zero)
    return files


def _gray_tiff(samples: np.ndarray, order: str, packed: bool, part: tuple[int, int], zero: str) -> bytes:
    """A TIFF of sixteen bits (TIFF 6.0), in parts of so many rows and columns: tiles where these are fewer than all."""
    height, width = samples.shape
    tiled = part[1] < width
    parts = []
    for top in range(0, height, part[0]):
        for left in range(0, width, part[1]):
            piece = samples[top : top + part[0], left : left + part[1]]
            if tiled:  # the last ones reach beyond the picture
                piece = np.pad(piece, [(0, part[0] - piece.shape[0]), (0, part[1] - piece.shape[1])])
            data = piece.astype(np.dtype(np.uint16).newbyteorder(order)).tobytes()
            parts.append(zlib.compress(data) if packed else data)
    fields: dict[int, list[int]] = {
        256: [width],
        257: [height],
        258: [16],
        259: [8 if packed else 1],
        262: [int(zero == BLACK)],
    }
    places, sizes = (324, 325) if tiled else (273, 279)
    fields |= {322: [part[1]], 323: [part[0]]} if tiled else {278: [part[0]]}
    fields |= {277: [1], places: [0] * len(parts), sizes: [len(data) for data in parts]}
    outside = 8 + 2 + 12 * len(fields) + 4
    begin = outside + sum(4 * len(values) for values in fields.values() if len(values) > 1)
    fields[places] = [begin + sum(map(len, parts[:number])) for number in range(len(parts))]
    entries, lists = b"", b""
    for tag, values in sorted(fields.items()):
        content = struct.pack(f"{order}{len(values)}I", *values)
        place = content if len(values) == 1 else struct.pack(f"{order}I", outside + len(lists))
        entries += struct.pack(f"{order}HHI", tag, 4, len(values)) + place
        lists += content if len(values) > 1 else b""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(fields))
    return head + entries + bytes(4) + lists + b"".join(parts)
