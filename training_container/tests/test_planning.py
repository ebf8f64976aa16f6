"""What confirms a plan: which pictures are looked at, and that no more is than was reserved for it."""

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skyloop_container import coarse, planning
from skyloop_container.dataset import Sample
from skyloop_container.hyperparameters import Hyperparameters
from skyloop_container.inference import Detector
from skyloop_container.planning import LEAST_IMAGES, PLAN_COST, choose_plan, confirmation, export_looks
from skyloop_container.slicing import SlicingPlan, View, cost, plan_of
from skyloop_container.train import ultralytics_arguments
from skyloop_container.training_set import lay_out
from skyloop_container.ultralytics_setup import prepare

from training_container.tests.test_coarse import BRIGHT, IMGSZ, PLAN, SIDE, Bright, channel, detector

LARGE, SMALL = (5472, 3648), (640, 512)


def pictures(*sizes: tuple[int, int]) -> list[Sample]:
    return [Sample(f"{n:05d}.png", Path(), *size, f"flight {n // 50}", ()) for n, size in enumerate(sizes)]


def plan(side: int, most: int) -> SlicingPlan:
    return plan_of(np.full((5, 2), 16.0), side, most)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    counts=st.lists(
        st.tuples(st.sampled_from([SMALL, (1920, 1080), LARGE]), st.integers(1, 400)), min_size=1, max_size=4
    ),
    side=st.sampled_from([640, 1000, 1533, None]),
    most=st.sampled_from([1, 12, 100, 1000]),
    fixed=st.booleans(),
)
def test_what_confirms_a_plan_is_bounded(counts: Any, side: int | None, most: int, fixed: bool) -> None:
    one = plan(side, most) if side else SlicingPlan()
    validation = pictures(*[size for size, count in counts for _ in range(count)])
    trial = confirmation(one, 640, validation, fixed)
    assert trial.looks <= PLAN_COST or len(trial.samples) == min(LEAST_IMAGES, len(validation))
    assert len(trial.samples) == len({sample.name for sample in trial.samples}) <= planning.CONFIDENCE_IMAGES
    assert export_looks(one, 640, validation[:1], validation, fixed) > trial.looks
    cut = [sample for sample in validation if one.count(sample.width, sample.height) > 1]
    tried = [sample for sample in trial.samples if one.count(sample.width, sample.height) > 1]
    assert len(tried) >= min(len(cut), len(trial.samples) // 2)


def test_a_plan_is_tried_on_the_few_pictures_that_it_is_for() -> None:
    trial = confirmation(plan(1533, 12), 640, pictures(*[SMALL] * 980, *[LARGE] * 20), False)
    assert sum((sample.width, sample.height) == LARGE for sample in trial.samples) == 20
    assert sum((sample.width, sample.height) == SMALL for sample in trial.samples) >= 20


def test_training_shows_objects_at_the_scales_of_every_plan(tmp_path: Path) -> None:
    """As Ultralytics augments: a good part of the objects is as small as a coarse look shows them."""
    pictures = []
    for number in range(4):
        path = tmp_path / f"{number}.png"
        cv2.imwrite(str(path), np.full((160, 160, 3), 40 * number, dtype=np.uint8))
        pictures.append(Sample(path.name, path, 160, 160, "", ((0, 70.0, 70.0, 20.0, 20.0),)))
    prepare(tmp_path / "settings")
    from ultralytics.cfg import get_cfg
    from ultralytics.data.dataset import YOLODataset

    lay_out({"train": pictures}, ["a"], SlicingPlan(), 160, tmp_path / "out", tmp_path / "kept", window=None)
    asked = ultralytics_arguments(Hyperparameters(categories=["a"], imgsz=160), "", Path(), 4, Path())
    random.seed(0)
    for mosaic in (0.0, 1.0):
        settings = get_cfg(overrides={"scale": asked["scale"], "mosaic": mosaic})
        folder, data = str(tmp_path / "out" / "train" / "images"), {"names": {0: "a"}, "channels": 3}
        views = YOLODataset(img_path=folder, imgsz=160, data=data, hyp=settings, augment=True, batch_size=1)
        seen = np.concatenate([views[number % 4]["bboxes"].numpy()[:, 2:].max(axis=1) for number in range(300)]) * 8
        assert (seen <= coarse.SCALE).mean() > 0.05
        assert (seen <= 1 / planning.COARSER).mean() > 0.1


class Counting(Detector):
    """Adds up what the network is asked."""

    looked = 0.0

    def run(self, image: np.ndarray, views: list[View], size: tuple[int, int] | None = None) -> Iterator[Any]:
        self.looked += cost(views, self.size)
        return super().run(image, views, size)


def counting(plan: SlicingPlan) -> Counting:
    return Counting(detector(plan).card, Bright())


@pytest.mark.parametrize(("objects", "fixed"), [(30, True), (30, False), (200, False)])
def test_an_export_looks_at_no_more_than_was_reserved(tmp_path: Path, objects: int, fixed: bool) -> None:
    """With a coarse look, too, on sparse pictures and on full ones."""
    samples = channel(tmp_path, 6, objects)
    model = counting(PLAN)
    choose_plan(model, samples, samples, fixed)
    trial = confirmation(PLAN, IMGSZ, samples, fixed)
    assert 0.3 * trial.looks < model.looked <= trial.looks


def test_a_plan_is_judged_by_the_pictures_that_it_cuts(tmp_path: Path) -> None:
    """Small pictures look the same with each plan: however many there are, they do not make the large ones blind."""
    large = channel(tmp_path, 2, 30)
    picture = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
    picture[20 : 20 + BRIGHT, 20 : 20 + BRIGHT] = 230
    cv2.imwrite(str(tmp_path / "small.png"), picture)
    on_it = ((0, 20.0, 20.0, float(BRIGHT), float(BRIGHT)),)
    small = [Sample(f"small {n}", tmp_path / "small.png", SIDE, SIDE, "", on_it) for n in range(60)]
    model = detector(PLAN, Bright(farsighted=0.0001))
    chosen, scored, measured = choose_plan(model, large, [*large, *small], side_is_fixed=False)
    assert chosen.side == SIDE
    assert len(scored) == len(large) + len(small)
    none = next(item for item in measured if item["side"] is None)
    assert (none["map50"], none["cost"]) == (0, 1)
    assert measured[0]["map50"] > 0.9
    assert measured[0]["cost"] > 10


@pytest.mark.parametrize(
    ("pictures", "boxes", "moved", "reason"),
    [
        (6, 30, 0, None),
        (6, 0, 0, "for 0 labeled boxes of validation pictures that are cut are too few to compare plans by"),
        (6, 1, 0, "for 6 labeled boxes"),
        (6, 30, 40, "for no plan finds enough to compare plans by: the best mAP50 is 0.0"),
    ],
)
def test_a_plan_stays_where_nothing_tells_of_it(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    pictures: int,
    boxes: int,
    moved: float,
    reason: str | None,
) -> None:
    """Of no box all plans find the same, and the cheapest, without slices, would be as good."""
    samples = [
        replace(one, boxes=tuple((c, x + moved, y + moved, w, h) for c, x, y, w, h in one.boxes[:boxes]))
        for one in channel(tmp_path, pictures, 30)
    ]
    chosen, scored, measured = choose_plan(detector(PLAN), samples, samples, side_is_fixed=False)
    assert (chosen == PLAN) is (reason is not None)
    assert {item["boxes"] for item in measured} == {sum(len(one.boxes) for one in samples)}
    assert (measured[0]["map50"] is None) is (boxes == 0)
    assert len(scored) == pictures
    assert (f"slicing: as trained, {reason}" in capsys.readouterr().out) is (reason is not None)


def test_what_many_boxes_on_small_pictures_say_is_not_of_the_plan(tmp_path: Path) -> None:
    [small] = channel(tmp_path, 1, 200)
    small = replace(small, width=SIDE, height=SIDE, boxes=tuple(b for b in small.boxes if max(b[1:3]) < 280))
    cv2.imwrite(str(small.path), cv2.imread(str(small.path))[:SIDE, :SIDE])
    many = [replace(small, name=f"{n}") for n in range(40)]
    assert sum(len(one.boxes) for one in many) > 100
    (tmp_path / "large").mkdir()
    [large] = channel(tmp_path / "large", 1, 1)
    assert choose_plan(detector(PLAN), many, [replace(large, name="large", boxes=()), *many], False)[0] == PLAN
    assert choose_plan(detector(PLAN), many, many, False)[0] == PLAN
    chosen, _, measured = choose_plan(detector(SlicingPlan()), many, [replace(small, boxes=())], False)
    assert (chosen, [item["map50"] for item in measured]) == (SlicingPlan(), [None])


def test_a_plan_stays_where_most_was_trained_on_larger_pictures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Here every plan finds all on the pictures of the validation."""
    samples = channel(tmp_path, 6, 30)
    assert choose_plan(detector(PLAN), samples, samples, side_is_fixed=False)[0] != PLAN
    larger = [replace(one, width=2 * one.width, height=2 * one.height) for one in samples]
    assert choose_plan(detector(PLAN), [*samples * 20, larger[0]], samples, side_is_fixed=False)[0] != PLAN
    capsys.readouterr()
    assert choose_plan(detector(PLAN), [*samples, larger[0]], samples, side_is_fixed=False)[0] == PLAN
    assert "slicing: as trained, for 29 of 202 boxes that were trained on are on larger" in capsys.readouterr().out
