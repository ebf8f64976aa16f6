"""skyloop.formats.groundtruth: output manifests of every shape, read as they are meant."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from skyloop.formats.geometry import Rectangle
from skyloop.formats.groundtruth import (
    LabeledBox,
    LabeledLine,
    UnlabeledLine,
    UnusableLine,
    boxes_on,
    categories_of,
    input_line,
    label_category_config,
    read_line,
)

from tests.support.files import stored_lines


def read(name: str, attribute: str = "boxes") -> list[LabeledLine | UnlabeledLine]:
    return [read_line(line, attribute) for line in stored_lines(name)]


def labeled(*boxes: tuple[float, float, float, float], size: tuple[int, int] | None = None) -> LabeledLine:
    return LabeledLine("s3://b/1.jpg", None, None, tuple(LabeledBox("car", Rectangle(*box)) for box in boxes), size, "")


def test_the_example_of_awss_own_documentation():
    (line,) = read("aws_bounding_box", "bounding-box-attribute-name")
    assert line == LabeledLine(
        source="s3://AWSDOC-EXAMPLE-BUCKET/example_image.png",
        image_id=None,
        flight=None,
        boxes=(
            LabeledBox("dog", Rectangle(111, 134, 61, 128)),
            LabeledBox("bone", Rectangle(161, 250, 30, 30)),
            LabeledBox("bone", Rectangle(20, 20, 30, 30)),
        ),
        stated_size=(500, 400),
        labeled_at="2018-10-18T22:18:13.527256+00:00",
    )


def test_class_ids_mean_what_their_own_line_says():
    first, second = read("two_jobs_disagree")
    assert [box.category for box in first.boxes] == ["car"]
    assert [box.category for box in second.boxes] == ["person", "car"]


def test_of_several_attributes_the_jobs_own_counts():
    adjusted, unadjusted, skipped = read("adjusted", "adjusted-boxes")
    assert [(box.category, box.box.left) for box in adjusted.boxes] == [("car", 12), ("person", 100)]
    assert [(box.category, box.box.left) for box in unadjusted.boxes] == [("car", 10)]
    assert isinstance(skipped, UnlabeledLine)
    assert [box.box.left for line in read("adjusted", "boxes") for box in line.boxes] == [10, 10, 10]


def test_a_verdict_on_labels_is_no_label():
    (line,) = stored_lines("verified")
    with pytest.raises(UnusableLine, match="“bad”"):
        read_line(line, "verify-boxes")
    assert len(read_line(line, "boxes").boxes) == 1


def test_no_answer_is_not_an_answer_without_boxes():
    skipped, expired, null, nothing = read("unanswered")
    assert [(line.image_id, type(line)) for line in (skipped, expired, null)] == [
        ("11", UnlabeledLine),
        ("22", UnlabeledLine),
        ("33", UnlabeledLine),
    ]
    assert "expired" in expired.reason
    assert isinstance(nothing, LabeledLine)
    assert nothing.boxes == ()


def test_imported_manifests_leave_things_out():
    no_size, size_object, unicode = read("imported")
    assert (no_size.stated_size, no_size.labeled_at) == (None, "")
    assert (size_object.stated_size, size_object.labeled_at) == ((500, 400), "")
    assert size_object.boxes[0].category == "car"
    assert (unicode.source, unicode.boxes[0].category) == ("s3://b/fläche +%2F.jpg", "Bäume")
    assert unicode.labeled_at == "2026-01-02T01:04:05.000000+00:00"


@pytest.mark.parametrize("line", stored_lines("unusable"), ids=lambda line: json.dumps(line)[:60])
def test_an_unusable_line_says_why(line):
    with pytest.raises(UnusableLine) as caught:
        read_line(line, "boxes")
    assert str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-10, 1000) | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["annotations", "class_id", "left", "top", "width", "height", "class-map", "0", "image_size"]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=15,
)


@given(JSON, JSON)
def test_any_line_is_read_or_refused(value, metadata):
    try:
        line = read_line({"source-ref": "s3://b/1.jpg", "boxes": value, "boxes-metadata": metadata}, "boxes")
    except UnusableLine:
        return
    if isinstance(line, LabeledLine):
        assert all(box.category for box in line.boxes)
        assert all(box.box.width >= 0 for box in line.boxes)


def test_boxes_are_clipped_to_the_real_picture():
    line = labeled((-10, 5, 30, 10), (90, 90, 20, 20), (10, 10, 5, 5), size=(100, 100))
    assert [box.box for box in boxes_on(line, 100, 100)] == [
        Rectangle(0, 5, 20, 10),
        Rectangle(90, 90, 10, 10),
        Rectangle(10, 10, 5, 5),
    ]


def test_slips_of_the_mouse_are_left_out():
    line = labeled((10, 10, 0, 5), (10, 10, 0.4, 5), (99.5, 10, 5, 5))
    assert boxes_on(line, 100, 100) == ()


def test_a_box_wholly_outside_belongs_to_another_picture():
    with pytest.raises(UnusableLine, match="outside"):
        boxes_on(labeled((100, 0, 10, 10)), 100, 100)


def test_a_misstated_size_is_forgiven_while_every_box_fits():
    assert len(boxes_on(labeled((10, 10, 5, 5), size=(50, 50)), 100, 100)) == 1
    with pytest.raises(UnusableLine, match=r"says 200 × 200.*100 × 100"):
        boxes_on(labeled((95, 95, 10, 10), size=(200, 200)), 100, 100)


def test_input_lines_are_json_for_any_key():
    line = input_line('s3://b/raw-images/é "quoted"\\ +%2F\n.jpg', "a" * 64, "é")
    assert "\n" not in line
    assert json.loads(line) == {
        "source-ref": 's3://b/raw-images/é "quoted"\\ +%2F\n.jpg',
        "image-id": "a" * 64,
        "flight": "é",
    }
    with pytest.raises(ValueError, match="100000"):
        input_line("s3://b/" + "x" * 100_000, "a", "f")


@given(st.lists(st.text(st.characters(categories=["L", "N"]), min_size=1), min_size=1, max_size=50, unique=True))
def test_categories_round_trip(names):
    assert categories_of(label_category_config(names)) == tuple(names)


@pytest.mark.parametrize(
    "config",
    [
        None,
        [],
        {},
        {"labels": []},
        {"labels": [{"name": "x"}]},
        {"labels": [{"label": "a"}, {"label": "a "}]},
        {"labels": [{"label": ""}]},
        {"labels": [{"label": str(number)} for number in range(51)]},
    ],
)
def test_categories_are_checked(config):
    with pytest.raises(ValueError, match=r"categor"):
        categories_of(config)


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "9999", "0000-00-00", "🙂"])
def test_a_date_outside_the_calendar_is_no_date(text):
    line = {"source-ref": "s3://b/1.jpg", "boxes": {"annotations": []}, "boxes-metadata": {"creation-date": text}}
    assert read_line(line, "boxes").labeled_at == ""


def test_numbers_are_what_they_mean():
    """Tools that write every number with a point mean the same."""
    box = {"class_id": 0.0, "left": 1.0, "top": 2, "width": 3.0, "height": 4}
    line = {
        "source-ref": "s3://b/1.jpg",
        "boxes": {"annotations": [box], "image_size": [{"width": 100.0, "height": 50.0}]},
        "boxes-metadata": {"class-map": {"0": "tree"}},
    }
    read = read_line(line, "boxes")
    assert [labeled.category for labeled in read.boxes] == ["tree"]
    assert read.stated_size == (100, 50)
