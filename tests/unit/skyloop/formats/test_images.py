"""skyloop.formats.images: what is this file?"""

from __future__ import annotations

import hashlib
import struct
import subprocess
import sys
import tracemalloc
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image
from skyloop.formats.images import check_image
from skyloop.formats.pictures import (
    MAX_BYTES,
    MAX_PIXELS,
    READABLE,
    ImageRefused,
    media_type,
    open_picture,
)

from tests.support.files import shared_folder
from tests.support.pictures import encoded, picture


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds one byte of pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def jpeg_header(width: int, height: int) -> bytes:
    """A real JPEG whose frame header claims another size."""
    body = bytearray(encoded(picture()))
    at = body.index(b"\xff\xc0") + 5
    body[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(body)


def refusal(body: bytes) -> ImageRefused:
    with pytest.raises(ImageRefused) as caught:
        check_image(body)
    assert caught.value.reason
    return caught.value


def with_exif(**tags) -> bytes:
    exif = Image.Exif()
    for name, value in tags.items():
        exif[ExifTags.Base[name].value] = value
    return encoded(picture(), exif=exif)


DAMAGEABLE = [
    encoded(picture(24, 16)),
    encoded(picture(24, 16), "PNG"),
    with_exif(Orientation=6, DateTime="2026:01:02 03:04:05"),
]


@pytest.mark.parametrize("format_name", ["JPEG", "PNG"])
def test_a_picture_says_what_it_is(format_name):
    body = encoded(picture(31, 17), format_name)
    facts = check_image(body)
    assert (facts.width, facts.height, facts.format, facts.bytes) == (31, 17, format_name, len(body))
    assert facts.image_id == hashlib.sha256(body).hexdigest()
    assert (facts.orientation, facts.captured_at, facts.latitude, facts.longitude) == (1, None, None, None)


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGB"])
def test_every_color_mode_of_a_jpeg_is_an_image(mode):
    assert check_image(encoded(picture().convert(mode))).format == "JPEG"


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16"])
def test_every_color_mode_of_a_png_is_an_image_and_comes_down_to_eight_bits(mode):
    source = Image.new("I;16", (12, 12), 40_000) if mode == "I;16" else picture(12, 12).convert(mode)
    body = encoded(source, "PNG")
    assert check_image(body).format == "PNG"
    assert open_picture(body).decode().mode == "RGB"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"\xff\xd8\xff\xe0...", "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n....", "image/png"),
        (b"GIF89a", None),
        (b"\xff\xd8", None),
        (b"", None),
    ],
)
def test_the_media_type_is_in_the_first_bytes(body, expected):
    assert media_type(body) == expected


def test_sixteen_bits_keep_their_high_byte():
    thermal = Image.new("I;16", (12, 12), 40_000)
    assert open_picture(encoded(thermal, "PNG")).decode().getpixel((0, 0)) == (156, 156, 156)


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        (b"", "empty", "0 bytes"),
        (b"hello, I am a text file", "not-an-image", "hello"),
        (bytes(1000), "not-an-image", "zero"),
        (b"\x93\x12\xf0garbage", "not-an-image", "no picture"),
        (b"GIF89a" + bytes(20), "unsupported-format", "GIF"),
        (b"II*\x00" + bytes(20), "unsupported-format", "TIFF"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "unsupported-format", "WebP"),
        (b"%PDF-1.7", "unsupported-format", "PDF"),
        (b"\0\0\0\x18ftypheic", "unsupported-format", "HEIC"),
        (b"\xff\xd8\xff", "truncated", ""),
        (b"\x89PNG\r\n\x1a\n", "truncated", ""),
        (png_header(30_000, 30_000), "too-many-pixels", "30000 × 30000"),
        (jpeg_header(30_000, 30_000), "too-many-pixels", "30000 × 30000"),
        (png_header(10_001, 10_000), "too-many-pixels", "10001 × 10000"),
        (png_header(100, 100), "truncated", ""),
    ],
    ids=str,
)
def test_what_is_no_image_is_refused_with_a_reason(body, code, words):
    refused = refusal(body)
    assert refused.code == code
    assert words in refused.reason


def test_the_limit_is_forty_megabytes():
    assert refusal(encoded(picture()) + bytes(MAX_BYTES)).code == "too-large"


def test_a_bomb_is_refused_before_it_goes_off():
    """900 million black pixels in a megabyte."""
    flat = b"\0" * (30_000 * 3 + 1)
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(flat) for _ in range(300)) + packer.flush()
    empty = png_header(30_000, 30_000)
    chunk = struct.pack(">I", len(packed)) + b"IDAT" + packed + struct.pack(">I", zlib.crc32(b"IDAT" + packed))
    body = empty[:33] + chunk + empty[-12:]
    assert refusal(body).code == "too-many-pixels"


def test_a_metadata_bomb_does_not_go_off():
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    whole = encoded(picture(), "PNG")
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(80_000_000), 9))
    tracemalloc.start()
    try:
        assert check_image(whole[:33] + text + whole[33:]).format == "PNG"
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "body",
    [
        encoded(picture(200, 150)),
        encoded(picture(200, 150), progressive=True),
        encoded(picture(200, 150), "PNG"),
        with_exif(Orientation=6, DateTime="2026:01:02 03:04:05"),
    ],
    ids=["baseline", "progressive", "png", "exif"],
)
def test_every_truncation_is_seen(body):
    cuts = {1, 2, 3, 4, 8, 12, 50, *range(100, len(body), max(1, len(body) // 25))}
    for missing in sorted(cuts):
        assert refusal(body[:-missing]).code in {"truncated", "broken", "not-an-image"}, missing


def test_data_after_the_end_and_previews_within_are_no_truncation():
    body = encoded(picture())
    preview = encoded(picture(16, 12))
    application = b"\xff\xe4" + struct.pack(">H", len(preview) + 2) + preview
    assert check_image(body[:2] + application + body[2:] + b"a maker's trailer \xff\xda").format == "JPEG"
    # The preview's end marker does not stand in for the picture's own.
    assert refusal(body[:2] + application + body[2:-2]).code == "truncated"


def test_restart_markers_are_part_of_the_scan():
    assert check_image(encoded(picture(200, 150), restart_marker_rows=1)).width == 200


def test_broken_pixels_of_a_png_are_seen():
    body = bytearray(encoded(picture(), "PNG"))
    at = body.index(b"IDAT") + 20
    body[at : at + 40] = bytes(40)
    assert refusal(bytes(body)).code in {"broken", "truncated"}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_read(orientation):
    assert check_image(with_exif(Orientation=orientation)).orientation == orientation


@pytest.mark.parametrize("nonsense", [0, 9, 77])
def test_nonsense_orientation_is_upright(nonsense):
    assert check_image(with_exif(Orientation=nonsense)).orientation == 1


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=150)
@given(st.data())
def test_damaged_files_are_judged_and_never_crash(data):
    """Any byte changed anywhere: either still a picture, or refused with a code."""
    body = bytearray(data.draw(st.sampled_from(DAMAGEABLE)))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        facts = check_image(bytes(body))
    except ImageRefused as refused:
        assert refused.code  # noqa: PT017
    else:
        assert facts.width * facts.height <= 100_000_000


@pytest.mark.parametrize("size", [(1, 3000), (3000, 1), (2, 3000), (1280, 1), (6000, 4), (9, 9), (700, 10)])
@pytest.mark.parametrize("format_name", ["PNG", "JPEG", "BMP", "TIFF", "WEBP"])
def test_thin_pictures_are_refused_alike(size, format_name):
    with pytest.raises(ImageRefused) as caught:
        open_picture(encoded(Image.new("RGB", size), format_name), READABLE)
    assert caught.value.code == "too-thin"


@pytest.mark.parametrize(("largest", "gray"), [(200, 200), (1000, 250), (4000, 250), (16_000, 250), (64_000, 250)])
def test_fewer_bits_in_sixteen_are_not_black(largest, gray):
    thermal = Image.new("I;16", (12, 12), largest)
    for format_name in ("PNG", "TIFF"):
        decoded = open_picture(encoded(thermal, format_name), READABLE).decode()
        assert decoded.getpixel((0, 0)) == (gray, gray, gray)


def test_one_hot_pixel_makes_no_picture_black():
    thermal = Image.new("I;16", (60, 60), 4_000)
    thermal.putpixel((7, 7), 65_535)
    decoded = open_picture(encoded(thermal, "PNG")).decode()
    assert decoded.getpixel((0, 0)) == (250, 250, 250)
    assert decoded.getpixel((7, 7)) == (255, 255, 255)


def png(color_type: int, depth: int, row: bytes, palette: bytes | None = None) -> bytes:
    """A PNG of 12 × 12 pixels whose rows are alike."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 12, 12, depth, color_type, 0, 0, 0)
    colors = b"" if palette is None else chunk(b"PLTE", palette)
    data = chunk(b"IDAT", zlib.compress((b"\0" + row) * 12))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + colors + data + chunk(b"IEND", b"")


@pytest.mark.parametrize("palette", [None, b"", b"\xff\x00\x00"])
def test_a_color_that_the_palette_lacks_is_no_black(palette):
    with pytest.raises(ImageRefused) as caught:
        open_picture(png(3, 8, b"\1" * 12, palette)).decode()
    assert caught.value.code == "broken"
    assert open_picture(png(3, 8, b"\1" * 12, b"\0\0\0\xff\x00\x00")).decode().getpixel((0, 0)) == (255, 0, 0)


def test_a_palette_of_eight_bits_in_a_tiff_is_no_black():
    body = bytearray(encoded(picture(12, 12).convert("P"), "TIFF"))
    right = open_picture(bytes(body), READABLE).decode()
    offset = struct.unpack_from("<I", body, 4)[0]
    for number in range(struct.unpack_from("<H", body, offset)[0]):
        tag, _, count, at = struct.unpack_from("<HHII", body, offset + 2 + 12 * number)
        if tag == 320:
            colors = [value >> 8 for value in struct.unpack_from(f"<{count}H", body, at)]
            struct.pack_into(f"<{count}H", body, at, *colors)
    assert open_picture(bytes(body), READABLE).decode().tobytes() == right.tobytes()


@pytest.mark.parametrize("mode", ["F", "I"])
def test_values_without_a_range_are_refused_and_never_black(mode):
    with pytest.raises(ImageRefused, match="32 bits"):
        open_picture(encoded(Image.new(mode, (20, 20), 7), "TIFF"), READABLE)


@pytest.mark.parametrize("format_name", ["TIFF", "WEBP"])
def test_the_other_formats_are_turned_upright_too(format_name):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation.value] = 6
    assert open_picture(encoded(picture(20, 12), format_name, exif=exif), READABLE).decode().size == (12, 20)


@pytest.mark.parametrize(
    ("format_name", "mode", "side"),
    [
        ("JPEG", "RGB", int(MAX_PIXELS**0.5)),
        ("JPEG", "CMYK", 7000),
        *(("WEBP", mode, 3500) for mode in ("RGB", "RGBA")),
        *(("PNG", mode, 3500) for mode in ("1", "P", "RGBA")),
        *(("TIFF", mode, 3000) for mode in ("L", "CMYK", "LAB")),
        ("BMP", "RGB", 3500),
    ],
)
def test_a_large_picture_takes_the_memory_that_is_stated(format_name, mode, side):
    """In a process of its own: what decoders take is theirs, not Python's."""
    body = encoded(Image.new(mode, (side, side)), format_name)
    before, peak = (int(text) for text in run_measured(body).split())
    few = 32_000_000  # what is held at a time
    assert peak - before < open_picture(body, READABLE).memory + 3 * len(body) + few


def run_measured(body: bytes, ask: str = "decode()") -> str:
    code = (
        "import resource, sys; from skyloop.formats.pictures import *; import numpy;"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024;"
        "body = sys.stdin.buffer.read(); before = peak();"
        "pixels = numpy.asarray(open_picture(body, READABLE)."
        f"{ask}).copy(); print(before, peak())"
    )
    # Through a shell: the peak of the process that starts another one would count as the other's.
    command = ["sh", "-c", '"$0" -c "$1"; exit $?', sys.executable, code]
    done = subprocess.run(command, input=body, capture_output=True, check=True)
    return done.stdout.decode()


def test_real_drone_frames_are_images():
    for path in sorted((shared_folder() / "data" / "hit-uav" / "day-60m" / "images").iterdir()):
        facts = check_image(path.read_bytes())
        assert (facts.width, facts.height, facts.format) == (640, 512, "JPEG")
