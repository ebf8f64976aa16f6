"""skyloop.dataset.slices: upright, cut to size, every object where it was."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import ExifTags, Image
from skyloop.dataset.slices import slice_image
from skyloop.formats.geometry import Rectangle
from skyloop.formats.groundtruth import LabeledBox, LabeledLine, UnusableLine
from skyloop.formats.orientation import upright_size

from tests.support.pictures import encoded, picture

CATEGORIES = ("person", "car")
WHITE = Rectangle(12, 20, 30, 8)


def marked(width: int = 120, height: int = 80) -> Image.Image:
    """A black picture with a white object at WHITE."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[int(WHITE.top) : int(WHITE.bottom), int(WHITE.left) : int(WHITE.right)] = 255
    return Image.fromarray(pixels)


def line(*boxes: tuple[str, Rectangle], size: tuple[int, int] | None = None) -> LabeledLine:
    return LabeledLine("s3://b/1", None, None, tuple(LabeledBox(*box) for box in boxes), size, "")


def brightness(image, box) -> float:
    """Mean brightness within a box of an image, 0…255."""
    pixels = np.asarray(Image.open(BytesIO(image.body)).convert("L"))
    corner = slice(round(box.top), round(box.top + box.height)), slice(round(box.left), round(box.left + box.width))
    return float(pixels[corner].mean())


def test_an_upright_picture_of_fitting_size_keeps_its_bytes():
    body = encoded(picture(64, 48))
    facts, (image,) = slice_image(body, line(("car", Rectangle(1, 2, 3, 4))), CATEGORIES, 64)
    assert image.body is body
    assert (image.name, image.extension) == (facts.image_id[:16], "jpg")
    assert [(box.category, box.class_id, box.left) for box in image.boxes] == [("car", 1, 1)]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_name", ["JPEG", "PNG"])
def test_the_object_is_in_its_box_in_every_orientation(orientation, format_name):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation.value] = orientation
    body = encoded(marked(), format_name, exif=exif)
    _, (image,) = slice_image(body, line(("car", WHITE), size=(120, 80)), CATEGORIES, 1280)
    upright = Image.open(BytesIO(image.body))
    assert upright.size == (image.width, image.height) == upright_size(120, 80, orientation)
    assert upright.getexif().get(ExifTags.Base.Orientation, 1) == 1
    assert brightness(image, image.boxes[0]) > 240
    assert np.asarray(upright.convert("L")).astype(float).sum() < 255 * WHITE.area * 1.15


def test_boxes_drawn_on_the_upright_picture_are_not_turned_again():
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation.value] = 6
    body = encoded(marked(), "PNG", exif=exif)
    drawn = Rectangle(80 - WHITE.bottom, WHITE.left, WHITE.height, WHITE.width)
    _, (image,) = slice_image(body, line(("car", drawn), size=(80, 120)), CATEGORIES, 1280)
    assert brightness(image, image.boxes[0]) == 255


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_large_picture_is_cut_into_slices_with_their_objects(orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation.value] = orientation
    body = encoded(marked(700, 500), "PNG", exif=exif)
    facts, images = slice_image(body, line(("car", WHITE)), CATEGORIES, 256)
    assert len({image.name for image in images}) == len(images) > 4
    for image in images:
        assert Image.open(BytesIO(image.body)).size == (image.width, image.height)
        assert image.name.startswith(f"{facts.image_id[:16]}_")
    holders = [image for image in images if image.boxes]
    assert holders
    assert all(brightness(image, box) == 255 for image in holders for box in image.boxes)


def test_sixteen_bit_pictures_are_cut_into_eight_bit_slices():
    body = encoded(Image.new("I;16", (300, 100), 40_000), "PNG")
    _, images = slice_image(body, line(), CATEGORIES, 256)
    first = Image.open(BytesIO(images[0].body))
    assert (first.mode, first.getpixel((0, 0))) == ("RGB", (156, 156, 156))


@pytest.mark.parametrize(
    ("body", "boxes", "words"),
    [
        (encoded(picture()), [("boat", Rectangle(1, 1, 5, 5))], "'boat'"),
        (encoded(picture()), [("car", Rectangle(1000, 1, 5, 5))], "outside"),
        (b"text", [], "cannot be used"),
        (encoded(picture(400, 400), "PNG")[:-900], [], "cannot be"),
    ],
)
def test_what_does_not_fit_is_refused(body, boxes, words):
    with pytest.raises(UnusableLine, match=words):
        slice_image(body, line(*boxes), CATEGORIES, 256)
