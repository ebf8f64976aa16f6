"""Decoding: what is an image, which way up, and what is refused before it costs anything."""

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image
from skyloop.formats.pictures import ImageRefused
from skyloop_container.dataset import decode


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture
def photo() -> Image.Image:
    random = np.random.default_rng(0)
    return Image.fromarray(random.integers(0, 256, (48, 64, 3), dtype=np.uint8))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_lossless_formats_keep_every_pixel(photo: Image.Image, kind: str) -> None:
    assert np.array_equal(decode(encode(photo, kind), None), np.asarray(photo))


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1", "LA"])
def test_every_mode_becomes_rgb(photo: Image.Image, mode: str) -> None:
    kind = "TIFF" if mode == "CMYK" else "PNG"
    assert decode(encode(photo.convert(mode), kind), None).shape == (48, 64, 3)


def test_sixteen_bit_gray_is_scaled_not_clipped() -> None:
    thermal = (np.arange(64 * 48).reshape(48, 64) * 21).astype(np.uint16)
    pixels = decode(encode(Image.fromarray(thermal), "PNG"), None)
    assert np.array_equal(pixels[..., 0], (thermal >> 8).astype(np.uint8))


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_orientation_is_applied(orientation: int, turns: int) -> None:
    """EXIF 6 means: turn 90 degrees clockwise to display, which is three turns anticlockwise."""
    stored = np.zeros((48, 64, 3), dtype=np.uint8)
    stored[:16, :16] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = decode(encode(Image.fromarray(stored), "PNG", exif=exif), None)
    assert np.array_equal(pixels, np.rot90(stored, turns))


@pytest.mark.parametrize(
    ("body", "reason"), [(b"", "0 bytes"), (b"hello, I am text" * 9, "text"), (b"\xff\xd8\xff", "end marker")]
)
def test_what_is_no_image_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(ImageRefused, match=reason):
        decode(body, None)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_a_truncated_file_is_refused(photo: Image.Image, kind: str, part: float) -> None:
    data = encode(photo, kind)
    with pytest.raises(ImageRefused):
        decode(data[: int(len(data) * part)], None)


def claim(width: int, height: int) -> bytes:
    """A PNG whose header claims a size, and whose pixels are not there."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(30_000, 30_000), (10_001, 10_000), (60_000, 60_000)])
def test_a_bomb_is_refused_by_its_header(size: tuple[int, int]) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ImageRefused, match="100 megapixels"):
            decode(claim(*size), None)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
