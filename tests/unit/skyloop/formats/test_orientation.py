"""skyloop.formats.orientation: boxes turn as pictures do."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageOps
from skyloop.formats.geometry import Rectangle
from skyloop.formats.orientation import upright_box, upright_size
from skyloop.formats.pictures import open_picture

from tests.support.pictures import encoded, picture

ORIENTATIONS = range(1, 9)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_pictures_turn_as_pillow_turns_them(orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation.value] = orientation
    body = encoded(picture(20, 12), "PNG", exif=exif)
    with Image.open(BytesIO(body)) as stored:
        expected = ImageOps.exif_transpose(stored)
    upright = open_picture(body).decode()
    assert upright.size == upright_size(20, 12, orientation) == expected.size
    assert np.array_equal(np.asarray(upright), np.asarray(expected))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@given(st.data())
def test_a_box_holds_the_same_pixels_before_and_after(orientation, data):
    width, height = data.draw(st.integers(10, 30)), data.draw(st.integers(10, 30))
    left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    box = Rectangle(left, top, data.draw(st.integers(1, width - left)), data.draw(st.integers(1, height - top)))
    canvas = np.zeros((height, width), np.uint8)
    canvas[top : int(box.bottom), left : int(box.right)] = 255
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation.value] = orientation
    turned = np.asarray(open_picture(encoded(Image.fromarray(canvas), "PNG", exif=exif)).decode())[..., 0]
    rows, columns = np.nonzero(turned)
    expected = Rectangle(columns.min(), rows.min(), columns.max() - columns.min() + 1, rows.max() - rows.min() + 1)
    assert upright_box(box, width, height, orientation) == expected


@pytest.mark.parametrize("orientation", [0, 9])
def test_there_are_eight(orientation):
    with pytest.raises(ValueError, match="1 to 8"):
        upright_box(Rectangle(0, 0, 1, 1), 4, 4, orientation)
