"""What is trained on: views with their boxes, cut once, kept for the next training."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from skyloop_container import training_set
from skyloop_container.dataset import Sample
from skyloop_container.environment import Environment, JobError
from skyloop_container.slicing import SlicingPlan
from skyloop_container.training_set import EMPTY_SHARE, LEAST_EMPTY, choose_views, lay_out


def write(folder: Path, name: str, width: int, height: int, *on_it: Any) -> Sample:
    picture = np.random.default_rng(list(name.encode())).integers(0, 255, (height, width, 3), dtype=np.uint8)
    folder.mkdir(exist_ok=True)
    cv2.imwrite(str(folder / name), picture)
    return Sample(name, folder / name, width, height, "north", on_it)


def test_pictures_are_laid_out_as_ultralytics_reads_them(tmp_path: Path) -> None:
    large = write(tmp_path / "in", "large.png", 400, 300, (1, 10.0, 20.0, 30.0, 40.0))
    small = write(tmp_path / "in", "small.jpg", 90, 60)
    kept = tmp_path / "kept"
    data, counts, left_out = lay_out(
        {"train": [large, small], "val": [small]},
        ["a", "b"],
        SlicingPlan(100, 0.2),
        64,
        tmp_path / "out",
        kept,
        window=None,
    )
    assert left_out == {"train": [], "val": []}
    images = sorted((tmp_path / "out" / "train" / "images").iterdir())
    assert counts == {"train": len(images), "val": 1}
    # The slice with the box, the whole picture with it, the small picture; of the others a share.
    assert len(images) == 3 + round(3 * EMPTY_SHARE)
    assert data.parent == tmp_path / "out"
    shapes, labels = [], []
    for image in images:
        shapes.append(cv2.imread(str(image)).shape[:2])
        labels.append((tmp_path / "out" / "train" / "labels" / f"{image.stem}.txt").read_text())
    assert max(max(shape) for shape in shapes) == 64
    assert (48, 64) in shapes  # the whole of the large one
    assert "1 0.25000000 0.40000000 0.30000000 0.40000000\n" in labels  # of a slice of 100 pixels
    assert "1 0.06250000 0.13333333 0.07500000 0.13333333\n" in labels  # of the whole


def sparse(folder: Path, count: int) -> list[Sample]:
    return [write(folder / "in", f"{n}.jpg", 2000, 1500, (0, 900.0, 700.0, 30.0, 30.0)) for n in range(count)]


CUT = SlicingPlan(400, 0.2)


def laid_out(folder: Path, samples: list[Sample], plan: SlicingPlan = CUT) -> int:
    """The number of views, cut with what `folder` has kept."""
    out = folder / f"out {len(list(folder.iterdir()))}"
    return lay_out({"train": samples}, ["a"], plan, 320, out, folder / "kept", window=None)[1]["train"]


def kept(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "kept").rglob("*") if path.is_file())


def test_only_what_is_trained_on_is_cut(tmp_path: Path) -> None:
    samples = sparse(tmp_path, 4)
    views = laid_out(tmp_path, samples)
    assert views == len(kept(tmp_path)) == len(list((tmp_path / "out 1" / "train" / "images").iterdir()))
    assert views < 0.2 * sum(len(CUT.slices(2000, 1500, 320)) for _ in samples)


def test_empty_views_come_from_all_pictures_the_same_each_time() -> None:
    box = (0, 900.0, 700.0, 30.0, 30.0)
    samples = [Sample(f"{n}.jpg", Path(), 2000, 1500, "", (box,) * (n < 100)) for n in range(200)]
    chosen = choose_views(samples, CUT, 320)
    assert choose_views(samples, CUT, 320) == chosen
    full = sum(1 for parts in chosen.values() for _, boxes in parts if boxes)
    empty = {name: sum(not boxes for _, boxes in parts) for name, parts in chosen.items()}
    assert sum(empty.values()) == round(EMPTY_SHARE * full)
    of_pictures_without = sum(count for name, count in empty.items() if int(name.removesuffix(".jpg")) >= 100)
    assert 0.35 < of_pictures_without / sum(empty.values()) < 0.7
    assert max(empty.values()) <= 5


def test_of_large_pictures_without_any_box_a_few_views_are_cut(tmp_path: Path) -> None:
    """Ultralytics ends where there is no file to validate on."""
    empty = [replace(one, boxes=()) for one in sparse(tmp_path, 2)]
    assert laid_out(tmp_path, empty) == LEAST_EMPTY
    # Labels may be on small pictures alone.
    small = write(tmp_path / "in", "small.png", 90, 60, (0, 10.0, 20.0, 30.0, 30.0))
    assert laid_out(tmp_path, [*empty, small]) == 1
    assert laid_out(tmp_path, [*empty, *[replace(small, name=f"{n}.png") for n in range(8)]]) == 10


def test_a_picture_whose_slices_are_kept_is_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = sparse(tmp_path, 2)
    views = laid_out(tmp_path, samples)
    before = [(path, path.read_bytes()) for path in kept(tmp_path)]
    monkeypatch.setattr(training_set, "decoded", None)
    assert laid_out(tmp_path, samples) == views
    assert [(path, path.read_bytes()) for path in kept(tmp_path)] == before


def test_slices_are_kept_where_a_warm_pool_keeps_its_folder(tmp_path: Path) -> None:
    environment = Environment(tmp_path)
    assert environment.kept_slices.is_relative_to(environment.scratch)
    cache = tmp_path / "sagemaker" / "warmpoolcache"
    cache.mkdir(parents=True)
    assert environment.kept_slices == cache / "slices"
    environment.remove_scratch()


def test_a_picture_that_changed_is_cut_again(tmp_path: Path) -> None:
    [sample] = sparse(tmp_path, 1)
    views = laid_out(tmp_path, [sample])
    cv2.imwrite(str(sample.path), np.full((1500, 2000, 3), 90, dtype=np.uint8))
    laid_out(tmp_path, [sample])
    assert len(kept(tmp_path)) == 2 * views
    wrong = Sample(sample.name, sample.path, 2000, 1400, "", sample.boxes)
    with pytest.raises(JobError, match="2000 x 1500, its labels are for 2000 x 1400"):
        laid_out(tmp_path, [wrong])


@pytest.mark.parametrize(
    "damage", [lambda data: data[: len(data) // 2], lambda data: data[:-9] + b"?" + data[-8:], len]
)
def test_a_damaged_slice_is_made_again(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    samples = sparse(tmp_path, 2)
    laid_out(tmp_path, samples)
    before = [(path, path.read_bytes()) for path in kept(tmp_path)]
    path, content = before[1]
    path.write_bytes(bytes(damage(content)))
    laid_out(tmp_path, samples)
    assert [(path, path.read_bytes()) for path in kept(tmp_path)] == before


def test_thin_pictures_and_twins_are_trained_on(tmp_path: Path) -> None:
    thin = write(tmp_path / "in", "thin.png", 640, 12)
    twin = Sample("twin.png", thin.path, 640, 12, "north", ())
    lay_out({"train": [thin, twin] * 4}, ["a"], SlicingPlan(), 64, tmp_path / "out", tmp_path / "kept", window=None)
    shapes = [cv2.imread(str(one)).shape[:2] for one in (tmp_path / "out" / "train" / "images").iterdir()]
    assert shapes == [(10, 533)] * 8


def test_what_cannot_be_read_is_left_out_of_training(tmp_path: Path) -> None:
    good = [write(tmp_path / "in", f"{n}.png", 90, 60) for n in range(3)]
    good[1].path.write_bytes(b"no picture")
    _, counts, left_out = lay_out(
        {"train": good}, ["a"], SlicingPlan(), 64, tmp_path / "out", tmp_path / "kept", window=None
    )
    assert counts == {"train": 2}
    assert [item.name for item in left_out["train"]] == ["1.png"]
