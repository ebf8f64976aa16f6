"""skyloop.formats.pixels: no pixel is black that the file does not say is black."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from skyloop.formats.pictures import READABLE, ImageRefused, open_picture

from tests.support.pictures import encoded, picture
from tests.unit.skyloop.formats.test_images import run_measured

SIDE = 40
DEPTHS = [8, 10, 12, 14, 16]
GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(rows: bytes, bits: int, color: int, *, palette: bytes | None = None, interlace: int = 0) -> bytes:
    """A PNG of SIDE × SIDE pixels, with checksums that are right whatever its data is."""
    body = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, bits, color, 0, 0, interlace))
    if palette is not None:
        body += chunk(b"PLTE", palette)
    return body + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def png_rows(samples: np.ndarray) -> bytes:
    return b"".join(b"\0" + row.astype(samples.dtype.newbyteorder(">")).tobytes() for row in samples)


def tiff(
    data: bytes,
    bits: list[int],
    *,
    photometric: int = 2,
    order: str = "<",
    packed: bool = False,
    extra: int | list[int] | None = None,
    planes: int = 1,
    color_map: list[int] | None = None,
) -> bytes:
    """A TIFF of SIDE × SIDE pixels, each plane in one strip."""
    size = len(data) // (planes if planes > 1 else 1)
    strips = [data[at : at + size] for at in range(0, len(data), size)]
    strips = [zlib.compress(strip) for strip in strips] if packed else strips
    tags: list[tuple[int, str, list[int]]] = [
        (256, "H", [SIDE]),
        (257, "H", [SIDE]),
        (258, "H", bits),
        (259, "H", [8 if packed else 1]),
        (262, "H", [photometric]),
        (273, "I", [0] * len(strips)),
        (277, "H", [len(bits)]),
        (278, "H", [SIDE]),
        (279, "I", [len(strip) for strip in strips]),
        (284, "H", [2 if planes > 1 else 1]),
    ]
    if color_map is not None:
        tags.append((320, "H", color_map))
    if extra is not None:
        tags.append((338, "H", extra if isinstance(extra, list) else [extra]))
    start = 8 + 2 + 12 * len(tags) + 4
    begin = start + sum(4 * len(values) for _, _, values in tags)  # room enough for all that is out of line
    tags[5] = (273, "I", [begin + sum(len(strip) for strip in strips[:number]) for number in range(len(strips))])
    directory, outside = struct.pack(f"{order}H", len(tags)), b""
    for tag, kind, values in tags:
        content = struct.pack(f"{order}{len(values)}{kind}", *values)
        directory += struct.pack(f"{order}HHI", tag, 3 if kind == "H" else 4, len(values))
        if len(content) > 4:
            directory += struct.pack(f"{order}I", start + len(outside))
            outside += content
        else:
            directory += content.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    return (head + directory + bytes(4) + outside).ljust(begin, b"\0") + b"".join(strips)


def noise(bands: int, depth: int) -> np.ndarray:
    """Samples of a depth; what follows the colors is a full alpha of sixteen bits."""
    samples = np.random.default_rng(depth).integers(0, 2**depth, (SIDE, SIDE, bands), dtype=np.uint16)
    if bands in (2, 4):
        samples[..., -1] = 65535
    return samples


def colors(samples: np.ndarray, depth: int) -> np.ndarray:
    """What is to come out: the high byte of the depth, gray in all three bands."""
    high = (samples >> (depth - 8)).astype(np.uint8)[..., : 1 if samples.shape[2] < 3 else 3]
    return np.broadcast_to(high, (SIDE, SIDE, 3))


def decoded(body: bytes) -> np.ndarray:
    return np.asarray(open_picture(body, READABLE).decode())


def refusal(body: bytes) -> ImageRefused:
    with pytest.raises(ImageRefused) as caught:
        open_picture(body, READABLE).decode()
    return caught.value


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize(("color", "bands"), [(GRAY, 1), (RGB, 3), (GRAY_ALPHA, 2), (RGBA, 4)])
def test_a_png_of_sixteen_bits_is_scaled_by_the_bits_that_are_used(color, bands, depth):
    samples = noise(bands, depth)
    assert np.array_equal(decoded(png(png_rows(samples), 16, color)), colors(samples, depth))


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("bands", "extra"), [(3, None), (4, None), (4, 0), (4, 2)])
def test_a_tiff_of_sixteen_bits_is_scaled_by_the_bits_that_are_used(depth, order, packed, bands, extra):
    samples = noise(bands, depth)
    data = samples.astype(samples.dtype.newbyteorder(order)).tobytes()
    body = tiff(data, [16] * bands, order=order, packed=packed, extra=extra)
    assert np.array_equal(decoded(body), colors(samples, depth))


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("packed", [False, True])
def test_a_gray_tiff_of_sixteen_bits_is_scaled_alike(depth, order, packed):
    samples = noise(1, depth)
    data = samples.astype(samples.dtype.newbyteorder(order)).tobytes()
    body = tiff(data, [16], photometric=1, order=order, packed=packed)
    assert np.array_equal(decoded(body), colors(samples, depth))


@pytest.mark.parametrize("more", [1, 2, 3])
def test_of_bands_beyond_rgb_none_is_seen(more):
    samples = np.random.default_rng(more).integers(0, 256, (SIDE, SIDE, 3 + more), dtype=np.uint8)
    body = tiff(samples.tobytes(), [8] * (3 + more), extra=[0] * more)
    assert np.array_equal(decoded(body), samples[..., :3])


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("bands", [2, 3, 5, 6, 10])
@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_bands_that_are_not_said_to_be_colors_are_refused(bits, bands, separate, packed):
    body = tiff(
        bytes(SIDE * SIDE * bands * bits // 8),
        [bits] * bands,
        photometric=1,
        planes=bands if separate else 1,
        packed=packed,
        extra=[0] * (bands - 1),
    )
    refused = refusal(body)
    assert refused.code == "unsupported-format"
    assert f"which of its {bands} bands" in refused.reason


@pytest.mark.parametrize("order", "<>")
def test_cmyk_of_sixteen_bits_is_scaled_too(order):
    samples = np.full((SIDE, SIDE, 4), 0, np.dtype(np.uint16).newbyteorder(order))
    samples[..., 0] = 4095
    assert decoded(tiff(samples.tobytes(), [16] * 4, photometric=5, order=order))[0, 0].tolist() == [0, 255, 255]


def test_planes_of_sixteen_bits_are_read_where_their_range_is_known_and_refused_where_not():
    planes = {depth: np.ascontiguousarray(noise(3, depth).transpose(2, 0, 1)) for depth in (12, 16)}
    for samples in planes.values():
        assert "sixteen bits" in refusal(tiff(samples.tobytes(), [16] * 3, planes=3)).reason
    assert refusal(tiff(planes[12].tobytes(), [16] * 3, planes=3, packed=True)).code == "unsupported-format"
    bright = decoded(tiff(planes[16].tobytes(), [16] * 3, planes=3, packed=True))
    assert np.array_equal(bright, colors(noise(3, 16), 16))


def test_dark_colors_with_a_premultiplied_alpha_are_refused():
    dark = tiff(noise(4, 12).tobytes(), [16] * 4, extra=1)
    assert refusal(dark).code == "unsupported-format"
    bright = noise(4, 16)
    assert np.array_equal(decoded(tiff(bright.tobytes(), [16] * 4, extra=1)), colors(bright, 16))


def test_an_interlaced_png_of_sixteen_bits_is_read_alike():
    """Flat, so that the rows of all passes are alike: 7 passes of one row's filter byte and its pixels."""
    rows = b""
    for left, top, across, down in ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2)):
        row = b"\0" + struct.pack(">3H", 4095, 2048, 16) * len(range(left, SIDE, across))
        rows += row * len(range(top, SIDE, down))
    last = (b"\0" + struct.pack(">3H", 4095, 2048, 16) * SIDE) * (SIDE // 2)
    whole = decoded(png(rows + last, 16, RGB, interlace=1))
    assert (whole == (255, 128, 1)).all()
    assert refusal(png(rows + last[:-1], 16, RGB, interlace=1)).code == "truncated"
    assert refusal(png(rows, 16, RGB, interlace=1)).code == "truncated"


@pytest.mark.parametrize("hot", [4096, 16_383, 40_000, 65_535])
@pytest.mark.parametrize(("color", "bands"), [(GRAY, 1), (RGB, 3)])
def test_a_hot_pixel_is_white_and_makes_no_other_dark(hot, color, bands):
    samples = noise(bands, 12)
    samples[3, 5, 0] = hot
    pixels = decoded(png(png_rows(samples), 16, color))
    samples[3, 5, 0] = 4095
    assert np.array_equal(pixels, colors(samples, 12))


@pytest.mark.parametrize(("color", "bands"), [(GRAY, 1), (RGB, 3)])
def test_a_border_of_no_data_says_nothing_about_the_range(color, bands):
    samples = noise(bands, 12)
    samples[: SIDE // 2] = 65535
    pixels = decoded(png(png_rows(samples), 16, color))
    assert (pixels[: SIDE // 2] == 255).all()
    assert np.array_equal(pixels[SIDE // 2 :], colors(samples, 12)[SIDE // 2 :])


@pytest.mark.parametrize(("color", "bands"), [(GRAY, 1), (RGB, 3)])
@pytest.mark.parametrize("value", [0, 65535])
def test_black_stays_black_and_white_white(color, bands, value):
    assert (decoded(png(png_rows(np.full((SIDE, SIDE, bands), value, np.uint16)), 16, color)) == value >> 8).all()


def test_more_than_a_few_bright_pixels_are_the_range():
    samples = noise(1, 12)
    samples[:2] = 16_000
    assert decoded(png(png_rows(samples), 16, GRAY))[0, 0].tolist() == [250, 250, 250]


INDEXES = png_rows(np.full((SIDE, SIDE), 5, np.uint8))


@pytest.mark.parametrize("palette", [None, b"", bytes(15)])
def test_a_palette_without_the_color_of_a_pixel_is_refused(palette):
    assert refusal(png(INDEXES, 8, PALETTE, palette=palette)).code == "broken"


def test_a_palette_needs_no_more_colors_than_are_used():
    assert (decoded(png(INDEXES, 8, PALETTE, palette=bytes([200] * 18))) == 200).all()


@pytest.mark.parametrize("value", [0, 7])
@pytest.mark.parametrize(("bits", "color", "bands"), [(8, GRAY, 1), (8, RGB, 3), (8, RGBA, 4), (8, PALETTE, 1)])
def test_a_png_whose_data_ends_in_good_order_before_its_last_row_is_refused(bits, color, bands, value):
    rows = png_rows(np.full((SIDE, SIDE, bands), value, np.uint8))
    palette = bytes([200] * 24) if color == PALETTE else None
    assert decoded(png(rows, bits, color, palette=palette)).shape == (SIDE, SIDE, 3)
    for missing in (1, len(rows) // SIDE, len(rows) // 2, len(rows) - 1):
        refused = refusal(png(rows[:-missing], bits, color, palette=palette))
        assert refused.code == "truncated", missing


def test_black_pictures_of_every_mode_are_whole():
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        body = encoded(Image.new(mode, (23, 17)), "PNG")
        assert not decoded(body).any()


def test_the_color_map_of_a_tiff_may_have_eight_bits():
    eight = [index % 256 for index in range(768)]
    indexes = bytes(range(SIDE)) * SIDE
    for values in (eight, [value * 257 for value in eight]):
        pixels = decoded(tiff(indexes, [8], photometric=3, color_map=values))
        assert pixels[0, 7].tolist() == [7, 7, 7]


def test_other_palettes_are_read_as_before():
    source = picture(SIDE, SIDE).quantize(16)
    for format_name in ("PNG", "BMP", "TIFF"):
        assert np.array_equal(decoded(encoded(source, format_name)), np.asarray(source.convert("RGB")))


@pytest.mark.parametrize(
    ("color", "bands", "ask"),
    [
        (GRAY, 1, "decode()"),
        (GRAY, 1, "decode(RadiometricWindow(2000, 4000))"),
        (GRAY, 1, "samples()"),
        (GRAY, 1, "show()"),
        (RGBA, 4, "decode()"),
    ],
)
def test_sixteen_bits_take_the_memory_that_is_stated(color, bands, ask):
    side = 4000
    row = b"\0" + struct.pack(">H", 3000) * bands * side
    packer = zlib.compressobj(1)
    data = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 16, color, 0, 0, 0)
    body = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    before, peak = (int(text) for text in run_measured(body, ask).split())
    few = 32_000_000  # what is held at a time
    assert peak - before < open_picture(body).memory + 3 * len(body) + few
