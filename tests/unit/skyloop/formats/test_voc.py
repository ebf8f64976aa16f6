from __future__ import annotations

import pytest
from skyloop.formats.geometry import Rectangle
from skyloop.formats.groundtruth import LabeledBox
from skyloop.formats.voc import read_voc

OBJECT = (
    "<object><name> Tree </name><pose>Unspecified</pose><bndbox>"
    "<xmin>10</xmin><ymin>20.5</ymin><xmax>40</xmax><ymax>60</ymax></bndbox></object>"
)


def annotation(*objects: str) -> bytes:
    return f"<annotation><filename>a.png</filename>{''.join(objects)}</annotation>".encode()


def test_objects_in_order() -> None:
    car = OBJECT.replace(" Tree ", "car").replace("10", "0")
    assert read_voc(annotation(OBJECT, car)) == (
        LabeledBox("Tree", Rectangle(10, 20.5, 30, 39.5)),
        LabeledBox("car", Rectangle(0, 20.5, 40, 39.5)),
    )


def test_a_picture_without_objects() -> None:
    assert read_voc(annotation()) == ()


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "not a Pascal VOC file"),
        (b'{"images": []}', "not a Pascal VOC file"),
        (annotation(OBJECT, OBJECT.replace("<xmin>10</xmin>", "")), "object 1: xmin is None"),
        (annotation(OBJECT.replace("20.5", "nan")), "object 0: ymin is 'nan'"),
        (annotation(OBJECT.replace(" Tree ", " ")), "object 0 has no name"),
        (annotation(OBJECT.replace("40", "9")), "object 0 ends before it begins"),
    ],
)
def test_a_mistake_names_its_object(body: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_voc(body)
