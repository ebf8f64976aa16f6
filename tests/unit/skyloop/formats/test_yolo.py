"""skyloop.yolo: what is written is what is read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from skyloop.formats.geometry import Rectangle
from skyloop.formats.yolo import LabelFileError, read_labels, write_labels


@st.composite
def pictures(draw):
    width, height = draw(st.integers(1, 20_000)), draw(st.integers(1, 20_000))
    boxes = []
    for _ in range(draw(st.integers(0, 5))):
        left = draw(st.floats(0, 0.999)) * width
        top = draw(st.floats(0, 0.999)) * height
        across, down = draw(st.floats(0.0001, 1)), draw(st.floats(0.0001, 1))
        box = Rectangle(left, top, across * (width - left), down * (height - top))
        boxes.append((draw(st.integers(0, 49)), box))
    return width, height, boxes


@given(pictures())
def test_round_trip(drawn):
    width, height, boxes = drawn
    read = read_labels(write_labels(boxes, width, height), width, height)
    assert [class_id for class_id, _ in read] == [class_id for class_id, _ in boxes]
    for (_, after), (_, before) in zip(read, boxes, strict=True):
        for name in ("left", "top", "width", "height"):
            assert getattr(after, name) == pytest.approx(getattr(before, name), abs=0.001)


@given(pictures())
def test_no_box_reaches_outside_of_the_picture(drawn):
    width, height, boxes = drawn
    for line in write_labels(boxes, width, height).splitlines():
        x, y, w, h = (float(value) for value in line.split()[1:])
        assert x - w / 2 >= -1e-7
        assert x + w / 2 <= 1 + 1e-7
        assert y - h / 2 >= -1e-7
        assert y + h / 2 <= 1 + 1e-7


def test_the_format_is_ultralytics():
    text = write_labels([(3, Rectangle(10, 20, 30, 40))], 100, 200)
    assert text == "3 0.25000000 0.20000000 0.30000000 0.20000000\n"


def test_no_box_is_an_empty_file():
    assert write_labels([], 10, 10) == ""
    assert read_labels("\n \n", 10, 10) == []


@pytest.mark.parametrize(
    "text", ["0 0.1 0.1 0.1", "0 0.1 0.1 0.1 0.1 0.1", "tree 0.1 0.1 0.1 0.1", "-1 0 0 0 0", "0 2 0 0 0", "0 nan 0 0 0"]
)
def test_a_broken_line_is_named(text):
    with pytest.raises(LabelFileError, match="line 2"):
        read_labels(f"0 0.5 0.5 0.1 0.1\n{text}\n", 10, 10)
