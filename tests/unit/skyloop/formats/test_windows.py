"""skyloop.formats: through a radiometric window gray of sixteen bits is the same for whoever reads it."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from skyloop.formats.pictures import (
    HEAD,
    READABLE,
    RadiometricWindow,
    count_samples,
    may_have_counts,
    open_picture,
    range_of,
)

from tests.support.pictures import encoded, picture, sixteen_bit_files
from tests.unit.skyloop.formats.test_pixels import RGB, RGBA, decoded, noise, png, png_rows, tiff

WINDOW = RadiometricWindow(21_000, 23_000)
THERMAL = np.random.default_rng(7).integers(20_500, 23_500, (45, 70), dtype=np.uint16)
FILES = sixteen_bit_files(THERMAL)


def seen(body: bytes, window: RadiometricWindow | None = WINDOW) -> np.ndarray:
    return np.asarray(open_picture(body, READABLE).decode(window))


@pytest.mark.parametrize("body", FILES.values(), ids=FILES)
def test_the_same_counts_are_the_same_grays_however_they_are_stored(body):
    gray = np.round((THERMAL.astype(float) - 21_000).clip(0, 2_000) * 255 / 2_000 + 1e-9)
    assert np.array_equal(seen(body), np.broadcast_to(gray[..., None], (45, 70, 3)))
    assert np.array_equal(open_picture(body, READABLE).samples(), THERMAL)
    assert np.array_equal(seen(body, None), np.broadcast_to((THERMAL >> 8)[..., None], (45, 70, 3)))


@pytest.mark.parametrize("window", [(0, 1), (0, 65_535), (65_534, 65_535), (300, 555), (20_000, 24_000)])
def test_a_table_goes_from_black_to_white_and_never_back(window):
    low, high = window
    table = RadiometricWindow(low, high).table().astype(int)
    assert table.shape == (65_536,)
    assert (table[: low + 1] == 0).all()
    assert (table[high:] == 255).all()
    assert (np.diff(table) >= 0).all()
    if high - low == 255:
        assert table[low : high + 1].tolist() == list(range(256))


@pytest.mark.parametrize(
    "window", [(5, 5), (6, 5), (-1, 5), (0, 65_536), (0.0, 5.0), (False, 5), ("0", "5"), (0, None)]
)
def test_what_is_no_window_is_refused(window):
    with pytest.raises(ValueError, match="no radiometric window"):
        RadiometricWindow(*window)


def test_a_window_can_be_read_as_text():
    assert str(WINDOW) == "21000-23000"


OTHERS = {
    **{
        f"{kind} {mode}": encoded(picture(seed=1).convert(mode), kind)
        for kind in ("PNG", "TIFF")
        for mode in ("L", "P")
    },
    **{kind: encoded(picture(seed=2), kind) for kind in ("JPEG", "WEBP", "BMP", "PNG", "TIFF")},
    "one bit": encoded(picture().convert("1"), "PNG"),
    "gray and transparency": encoded(picture().convert("LA"), "PNG"),
    "colors of sixteen bits": png(png_rows(noise(3, 16)), 16, RGB),
    "dark colors of sixteen bits": png(png_rows(noise(3, 12)), 16, RGB),
    "colors of sixteen bits and transparency": png(png_rows(noise(4, 14)), 16, RGBA),
    "gray of sixteen bits and transparency": png(png_rows(noise(2, 14)), 16, 4),
    "TIFF of colors of sixteen bits": tiff(noise(3, 12).tobytes(), [16] * 3),
}


@pytest.mark.parametrize("body", OTHERS.values(), ids=OTHERS)
def test_a_window_does_not_touch_other_pictures(body):
    assert not open_picture(body, READABLE).has_counts
    assert np.array_equal(seen(body), decoded(body))
    assert np.array_equal(np.asarray(open_picture(body, READABLE).show()), decoded(body))


def test_the_first_bytes_tell_what_needs_no_look():
    for body in FILES.values():
        assert may_have_counts(body[:HEAD])
        assert open_picture(body, READABLE).has_counts
    none = {name for name, body in OTHERS.items() if not may_have_counts(body[:HEAD])}
    assert none == {name for name in OTHERS if "TIFF" not in name}
    assert not may_have_counts(b"")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_samples_are_upright(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    body = encoded(Image.fromarray(THERMAL), "PNG", exif=exif)
    samples = open_picture(body).samples()
    assert samples.dtype == np.uint16
    assert np.array_equal(WINDOW.table()[samples], seen(body)[..., 0])
    assert (samples.shape == THERMAL.shape) == (orientation < 5)


@pytest.mark.parametrize("depth_of_range", [40, 400, 4_000])
def test_people_see_what_is_there(depth_of_range):
    """The high byte of 400 counts is three grays."""
    samples = (21_000 + np.linspace(0, depth_of_range, 64 * 48)).astype(np.uint16).reshape(48, 64)
    samples[5, 5], samples[6, 6], samples[7, 7] = 0, 65_535, 50_000
    shown = np.asarray(open_picture(encoded(Image.fromarray(samples), "PNG")).show())
    assert len(np.unique(shown)) >= min(depth_of_range, 250)
    assert (shown.min(), shown.max()) == (0, 255)


@pytest.mark.parametrize("value", [0, 1, 300, 40_000, 65_535])
def test_people_see_a_flat_picture_as_it_is_read(value):
    body = encoded(Image.new("I;16", (20, 20), value), "PNG")
    assert np.array_equal(np.asarray(open_picture(body).show()), decoded(body))


def test_a_range_leaves_out_a_share_at_either_end_and_what_stands_for_no_data():
    samples = np.concatenate([np.arange(1_000, 2_000), [0] * 700, [65_535] * 900]).astype(np.uint16)
    counts = count_samples(samples)
    assert counts.sum() == len(samples)
    assert range_of(counts, 0) == (1_000, 1_999)
    assert range_of(counts, 0.01) == (1_010, 1_989)
    assert range_of(count_samples(np.full(9, 77, np.uint16)), 0.001) == (77, 77)
    assert range_of(count_samples(np.array([0, 65_535], np.uint16)), 0.001) is None


def test_a_radiometric_jpeg_is_the_ordinary_picture_that_it_also_is():
    """Cameras of FLIR have the raw plane in APP1, those of DJI in APP3: neither is read."""
    plain = encoded(picture(seed=3))
    for marker, name in ((b"\xff\xe1", b"FLIR\0\1\0\0"), (b"\xff\xe3", b"")):
        content = name + THERMAL.tobytes()
        segment = marker + (len(content) + 2).to_bytes(2, "big") + content
        radiometric = plain[:2] + segment * 3 + plain[2:]
        assert not open_picture(radiometric).has_counts
        assert not may_have_counts(radiometric[:HEAD])
        assert np.array_equal(seen(radiometric), decoded(plain))
