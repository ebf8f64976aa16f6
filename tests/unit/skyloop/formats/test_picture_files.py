"""Files of pictures that make decoders slow, that a header lies about, or that hold more than a picture."""

from __future__ import annotations

import io
import struct
import sys
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skyloop.formats import picture_files
from skyloop.formats.images import check_image
from skyloop.formats.pictures import READABLE, ImageRefused, open_picture

from tests.support.pictures import encoded, picture


def jpeg_segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def claiming(body: bytes, width: int, height: int) -> bytes:
    """A JPEG whose header says that it has another size."""
    frame = next(at for at in (body.find(marker) for marker in (b"\xff\xc0", b"\xff\xc2")) if at >= 0)
    return body[: frame + 5] + struct.pack(">HH", height, width) + body[frame + 9 :]


def many_scans() -> bytes:
    """A progressive JPEG whose last scan, of nothing new, is repeated: each costs a pass over all of its pixels."""
    body = encoded(picture(200, 150), progressive=True)
    last = body.rindex(b"\xff\xda")
    return body[:last] + body[last:-2] * 3000 + body[-2:]


def scans_of_a_large_picture() -> bytes:
    """As many scans as a small picture may have. Nothing is drawn: the header alone says how large it is."""
    body = encoded(picture(200, 150), progressive=True)
    frame, last = body.index(b"\xff\xc2"), body.rindex(b"\xff\xda")
    sized = body[: frame + 5] + struct.pack(">HH", 10_000, 10_000) + body[frame + 9 : last]
    return sized + body[last:-2] * 30 + body[-2:]


def tiff_directory(*entries: tuple[int, int, int, int]) -> bytes:
    packed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + packed + bytes(4)


def tiff_of_jpeg(scans: int, strips: int = 1, length: int | None = None) -> bytes:
    """100 megapixels, whose last scan is there so many times, for all strips in the same place.

    length: what the header says that a strip has, where it does not say the truth.
    """
    body = encoded(picture(200, 150), progressive=True)
    last = body.rindex(b"\xff\xda")
    data = body[:last] + body[last:-2] * scans + body[-2:]
    told = len(data) if length is None else length
    fields = {256: 10_000, 257: 10_000, 258: 8, 259: 7, 262: 6, 277: 3, 278: 10_000 // strips}
    head = 8 + 2 + 12 * (len(fields) + 2) + 4
    places, sizes = (struct.pack(f"<{strips}I", *[value] * strips) for value in (head + 8 * strips, told))
    at = (head, head + 4 * strips) if strips > 1 else (head + 8, told)
    entries = [(tag, 3, 1, value) for tag, value in fields.items()] + [(273, 4, strips, at[0]), (279, 4, strips, at[1])]
    return tiff_directory(*sorted(entries)) + places + sizes + data


def bmp_of_runs(width: int, height: int, runs: bytes) -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(runs), 0, 0, 256, 0)
    palette = b"".join(bytes([number, number, number, 0]) for number in range(256))
    return b"BM" + struct.pack("<IHHI", 1078 + len(runs), 0, 0, 1078) + header + palette + runs


def cmyk_jpeg(width: int, height: int) -> bytes:
    """Little is drawn: the header says how large it is, and there are bits for that."""
    body = claiming(encoded(picture().convert("CMYK")), width, height)
    return body[:-2] + bytes(width * height // 60) + body[-2:]


def webp(width: int, height: int) -> bytes:
    """Lossless, of which the header alone says how large it is."""
    body = io.BytesIO()
    picture().save(body, "WEBP", lossless=True)
    size = struct.pack("<I", width - 1 | (height - 1) << 14)
    return body.getvalue()[:21] + size + body.getvalue()[25:]


def tiff_of_colors(photometric: int, width: int, height: int) -> bytes:
    fields = {256: width, 257: height, 258: 8, 259: 5, 262: photometric, 273: 8, 277: 3, 279: 8}
    return tiff_directory(*[(tag, 3, 1, value) for tag, value in fields.items()])


SLOW = {
    "scans": many_scans(),
    "scans of a large picture": scans_of_a_large_picture(),
    "segments": b"\xff\xd8" + jpeg_segment(0xE4, b"") * 1_000_000 + encoded(picture())[2:],
    "comments after the scan": encoded(picture())[:-2] + jpeg_segment(0xFE, b"") * 1_000_000 + b"\xff\xd9",
    "fill": b"\xff\xd8" + b"\xff" * 20_000_000 + encoded(picture())[2:],
    "chunks": encoded(picture(), "PNG")[:33]
    + (struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))) * 1_000_000
    + encoded(picture(), "PNG")[33:],
    "a directory of large values": tiff_directory(*[(number, 7, 60_000, 8) for number in range(900)]),
    "values of a type that came later": tiff_directory(*[(60_000 + number, 16, 10_000, 8) for number in range(200)])
    + bytes(80_000),
    "a text of numbers": tiff_directory((256, 3, 1, 16), (257, 3, 1, 16), (282, 5, 400_000, 8)) + bytes(3_200_000),
    "scans of a TIFF": tiff_of_jpeg(30),
    "one strip for many": tiff_of_jpeg(2, strips=400),
    "strips": tiff_directory((256, 3, 1, 16), (257, 3, 1, 16), (273, 4, 1_000_000, 8), (279, 4, 1_000_000, 8))
    + bytes(8_000_000),
    "tiles": tiff_directory((256, 3, 1, 9000), (257, 3, 1, 9000), (324, 4, 150_000, 8), (325, 4, 150_000, 8))
    + bytes(1_200_000),
    "wide tiles": tiff_directory((256, 3, 1, 64), (257, 3, 1, 64), (322, 4, 1, 20_000), (323, 4, 1, 20_000)),
    "many large tiles": tiff_directory((256, 3, 1, 2048), (257, 3, 1, 2048), (322, 3, 1, 16), (323, 4, 1, 80_000)),
    "runs": bmp_of_runs(16, 16, bytes(2_000_000)),
    "a long directory": tiff_directory(*[(number, 3, 1, 0) for number in range(5000)]),
}


@pytest.mark.parametrize("body", SLOW.values(), ids=SLOW)
def test_what_decoders_are_slow_at_is_refused(body):
    """By counting: what these cost without it is seconds to minutes, or gigabytes."""
    with pytest.raises(ImageRefused) as caught:
        open_picture(body, READABLE).decode()
    assert caught.value.code == "too-complex"


def test_jpeg_data_in_a_tiff_says_its_length():
    """Of no length a decoder takes all that is left of the file, with all the scans that nobody has counted."""
    with pytest.raises(ImageRefused, match="how long") as caught:
        open_picture(tiff_of_jpeg(30, length=0), READABLE)
    assert caught.value.code == "broken"


def test_signed_samples_of_sixteen_bits_are_not_called_ones_of_32():
    fields = {256: 16, 257: 16, 258: 16, 259: 1, 262: 1, 273: 8 + 2 + 12 * 10 + 4, 277: 1, 278: 16, 279: 512, 339: 2}
    body = tiff_directory(*[(tag, 3, 1, value) for tag, value in fields.items()]) + bytes(512)
    with pytest.raises(ImageRefused, match="32 bits or a sign") as caught:
        open_picture(body, READABLE)
    assert caught.value.code == "unsupported-format"


def test_what_a_tiff_holds_besides_its_pixels_is_not_read():
    """Its EXIF directory may say a megabyte a thousand times; Pillow would have it all in memory."""
    fields = {256: 16, 257: 16, 258: 8, 259: 1, 262: 1, 273: 8 + 2 + 12 * 9 + 4, 277: 1, 279: 256, 34665: 10**9}
    entries = [(tag, 4 if tag == 34665 else 3, 1, value) for tag, value in fields.items()]
    body = tiff_directory(*entries) + b"\x07" * 256
    assert open_picture(body, READABLE).decode().getcolors() == [(256, (7, 7, 7))]
    assert b"\x69\x87" in body  # 34665, which is not handed on
    assert b"\x69\x87" not in open_picture(body, READABLE)._body


@pytest.mark.parametrize("kind", range(14))
@pytest.mark.parametrize("tag", [270, 280, 281, 282, 305, 340, 341, 700, 33723, 34675, 50000])
def test_metadata_of_any_form_fails_no_tiff(tag, kind):
    """A text where Pillow wants bytes, no value where libtiff wants one; with and without compression."""
    pixels = zlib.compress(bytes(256))
    for compression, data in ((1, bytes(256)), (8, pixels)):
        for values in (0, 1, 3):
            place = 8 + 2 + 12 * 9 + 4
            fields = {256: 16, 257: 16, 258: 8, 259: compression, 262: 1, 273: place, 277: 1, 279: len(data)}
            entries = [(name, 3, 1, value) for name, value in fields.items()] + [(tag, kind, values, place)]
            body = tiff_directory(*sorted(entries)) + data + bytes(100)
            assert open_picture(body, READABLE).decode().getcolors() == [(256, (0, 0, 0))]


def test_a_color_map_has_no_more_colors_than_pixels_can_name():
    body = tiff_directory((256, 3, 1, 16), (257, 3, 1, 16), (320, 3, 3 * 2**16 + 3, 8)) + bytes(400_000)
    with pytest.raises(ImageRefused, match="color map"):
        open_picture(body, READABLE)


@pytest.mark.parametrize("entry", [(256, 3, 1, 5000), (322, 1, 1, 16), (323, 16, 1, 16), (322, 3, 3, 8)])
def test_a_tiff_says_its_size_once_and_in_whole_numbers(entry):
    with pytest.raises(ImageRefused, match="its header has") as caught:
        open_picture(tiff_directory((256, 3, 1, 16), (257, 3, 1, 16), entry), READABLE)
    assert caught.value.code == "broken"


def test_jpeg_data_in_a_tiff_is_read():
    body = io.BytesIO()
    picture(200, 150).save(body, "TIFF", compression="jpeg")
    assert open_picture(body.getvalue(), READABLE).decode().size == (200, 150)


def test_samples_of_sixteen_bits_have_fewer_pixels():
    header = picture_files._png_chunk(b"IHDR", struct.pack(">IIBBBBB", 10_000, 5_000, 16, 6, 0, 0, 0))
    body = (
        b"\x89PNG\r\n\x1a\n" + header + picture_files._png_chunk(b"IDAT", b"") + picture_files._png_chunk(b"IEND", b"")
    )
    with pytest.raises(ImageRefused, match="sixteen bits") as caught:
        open_picture(body, READABLE)
    assert caught.value.code == "too-many-pixels"


@pytest.mark.parametrize(
    ("make", "within", "beyond", "words"),
    [
        # A pixel and an end of line a row: Pillow adds the others one by one, 100 million in 10 s.
        (lambda *size: bmp_of_runs(*size, b"\x01\x07\0\0" * size[1] + b"\0\1"), (5000, 1000), (80_000, 1250), "runs"),
        (webp, (8192, 5460), (7100, 7100), "WebP"),
        (cmyk_jpeg, (8192, 5460), (7100, 7100), "CMYK"),
        (lambda *size: tiff_of_colors(8, *size), (8192, 5460), (7100, 7100), "LAB"),
    ],
    ids=["runs", "WebP", "CMYK", "CIELab"],
)
def test_what_is_slow_for_each_pixel_has_fewer_of_them(make, within, beyond, words):
    """However small the file is."""
    opened = open_picture(make(*within), READABLE)
    assert (opened.width, opened.height) == within
    with pytest.raises(ImageRefused, match=words) as caught:
        open_picture(make(*beyond), READABLE)
    assert caught.value.code == "too-many-pixels"


def test_a_bmp_of_few_runs_is_read():
    body = bmp_of_runs(16, 16, b"\x10\x07\0\0" * 16 + b"\0\1")
    assert open_picture(body, READABLE).decode().getcolors() == [(256, (7, 7, 7))]


def test_what_a_scan_is_stuffed_with_is_passed_over_at_once():
    """By steps, not by the clock: each pair of bytes took one, for all that come to the endpoint in one thread."""
    steps = 0

    def trace(frame, event, _):
        nonlocal steps
        steps += frame.f_code.co_filename == picture_files.__file__
        return trace

    body = encoded(picture())
    stuffed = body[:-2] + b"\xff\x00\xff\xd0" * 1_000_000 + b"\xff\x00" + body[-2:]
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        found = open_picture(stuffed)
    finally:
        sys.settrace(before)
    assert (found.width, found.height) == picture().size
    assert steps < 1000


@pytest.mark.parametrize("fill", [0, 1, 7])
def test_markers_are_found_wherever_they_stand(fill):
    """After a segment that ends with FF, after fill bytes, and behind stuffed ones in the scan."""
    body = encoded(picture())
    odd = jpeg_segment(0xE4, b"x\xff") + b"\xff" * fill + jpeg_segment(0xFE, b"\xff\xd9")
    whole = body[:2] + odd + body[2:-2] + b"\xff" * fill + body[-2:]
    assert open_picture(whole).decode().tobytes() == open_picture(body).decode().tobytes()
    assert open_picture(whole + b"what cameras add").decode().size == picture().size
    with pytest.raises(ImageRefused, match="before its end marker"):
        open_picture(whole[:-1])


def test_an_exif_flood_costs_nothing():
    """30 MB of Exif segments, which Pillow would put together one by one."""
    flood = jpeg_segment(0xE1, b"Exif\0\0" + bytes(65_000)) * 460
    body = encoded(picture())
    assert check_image(body[:2] + flood + body[2:]).orientation == 1


@pytest.mark.parametrize("how", [{}, {"progressive": True}, {"optimize": True}, {"restart_marker_blocks": 1}])
def test_a_jpeg_with_less_data_than_any_of_its_size_is_refused(how: dict[str, object]) -> None:
    """Decoders paint the rest gray, in seconds, and an end marker is no proof: it may have been put there."""
    body = encoded(picture(64, 64), **how)
    assert len(body) < 5000
    check_image(body)
    with pytest.raises(ImageRefused, match="the least for its size") as refused:
        check_image(claiming(body, 9000, 9000))
    assert refused.value.code == "truncated"


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_without_its_tail_is_refused_where_nothing_is_drawn(progressive: bool) -> None:
    body = flat("L", (1000, 777), 128, progressive=progressive, optimize=True)
    check_image(body)  # it has not a byte too many
    scan = body.index(b"\xff\xda")
    data = scan + 2 + int.from_bytes(body[scan + 2 : scan + 4], "big")
    with pytest.raises(ImageRefused, match="the least for its size"):
        check_image(body[:data] + body[data + 1 :])


def flat(mode: str, size: tuple[int, int], gray: int, **how: object) -> bytes:
    made = io.BytesIO()
    Image.new(mode, size, gray if mode == "L" else (gray,) * len(mode)).save(made, "JPEG", **how)
    return made.getvalue()


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    mode=st.sampled_from(["L", "RGB", "CMYK"]),
    size=st.tuples(st.integers(10, 200), st.integers(10, 200)),
    gray=st.integers(0, 255),
    progressive=st.booleans(),
    optimize=st.booleans(),
    subsampling=st.sampled_from(["4:4:4", "4:2:2", "4:2:0"]),
    restart=st.sampled_from([0, 1, 7]),
)
def test_no_jpeg_of_one_color_is_refused(
    mode: str, size: tuple[int, int], gray: int, progressive: bool, optimize: bool, subsampling: str, restart: int
) -> None:
    """They have as little data as there can be."""
    how = {"progressive": progressive, "optimize": optimize, "restart_marker_blocks": restart}
    open_picture(flat(mode, size, gray, subsampling=subsampling, **how), READABLE).decode()


@pytest.mark.parametrize("progressive", [False, True])
def test_a_large_jpeg_of_one_color_is_taken(progressive: bool) -> None:
    check_image(flat("L", (9000, 9000), 128, progressive=progressive, optimize=True))
