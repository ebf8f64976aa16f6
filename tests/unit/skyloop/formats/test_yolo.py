"""skyloop.formats.yolo: what is written is what is read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from skyloop.documents import Box
from skyloop.formats.yolo import write_labels

from tests.support.yolo_labels import read_labels


@st.composite
def pictures(draw):
    width, height = draw(st.integers(1, 20_000)), draw(st.integers(1, 20_000))
    boxes = []
    for _ in range(draw(st.integers(0, 5))):
        left = draw(st.floats(0, 0.999)) * width
        top = draw(st.floats(0, 0.999)) * height
        across, down = draw(st.floats(0.0001, 1)), draw(st.floats(0.0001, 1))
        boxes.append(
            Box(
                category="any",
                class_id=draw(st.integers(0, 49)),
                left=left,
                top=top,
                width=across * (width - left),
                height=down * (height - top),
            )
        )
    return width, height, boxes


@given(pictures())
def test_round_trip(drawn):
    width, height, boxes = drawn
    read = read_labels(write_labels(boxes, width, height), width, height)
    assert [class_id for class_id, _ in read] == [box.class_id for box in boxes]
    for (_, after), before in zip(read, boxes, strict=True):
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
    text = write_labels([Box(category="car", class_id=3, left=10, top=20, width=30, height=40)], 100, 200)
    assert text == "3 0.25000000 0.20000000 0.30000000 0.20000000\n"


def test_no_box_is_an_empty_file():
    assert write_labels([], 10, 10) == ""
