"""Average precision against worked examples and faster-coco-eval; the bootstrap against brute force."""

import math
from dataclasses import replace

import numpy as np
import pytest
from skyloop_container import metrics
from skyloop_container.detections import Detections, ScoredImage, Truth
from skyloop_container.inference import Detection
from skyloop_container.metrics import Matches, Resampled, best_confidence, compare, iou, match, match_image, score
from skyloop_container.report import _slicing, confusion, densest_part


def truth(left: float, top: float = 0, category: str = "a") -> Truth:
    return Truth(category, left, top, 10, 10)


def found(left: float, confidence: float, top: float = 0, category: str = "a") -> Detection:
    return Detection(category, 0, confidence, left, top, 10, 10)


def image(boxes: list[Truth], detections: list[Detection], name: str = "i") -> ScoredImage:
    return ScoredImage(name, 100, 100, boxes, Detections(sorted(detections, key=lambda d: -d.confidence)))


def random_images(seed: int, count: int, skill: float, categories: str = "ab") -> list[ScoredImage]:
    """Images whose boxes are found with probability `skill`, with some noise boxes; the truth depends on count only."""
    layout, luck = np.random.default_rng(1000 + count), np.random.default_rng(seed)
    images = []
    for number in range(count):
        boxes = [
            truth(*(layout.uniform(0, 90, 2)), str(layout.choice(list(categories))))
            for _ in range(layout.integers(0, 6))
        ]
        detections = [
            found(b.left + luck.normal(0, 1.5), luck.uniform(0.3, 1), b.top + luck.normal(0, 1.5), b.category)
            for b in boxes
            if luck.uniform() < skill
        ]
        detections += [
            found(luck.uniform(0, 90), luck.uniform(0, 0.8), luck.uniform(0, 90), str(luck.choice(list(categories))))
            for _ in range(luck.integers(0, 4))
        ]
        images.append(image(boxes, detections, f"i{number}"))
    return images


def test_iou() -> None:
    overlaps = iou([truth(0)], [truth(0), truth(5), truth(10), truth(50)])[0]
    assert overlaps.tolist() == pytest.approx([1, 1 / 3, 0, 0])


def test_perfect_and_hopeless() -> None:
    perfect = score([image([truth(0), truth(50)], [found(0, 0.9), found(50, 0.8)])], ["a"], 0.5)
    assert perfect["map50"] == perfect["map50_95"] == perfect["precision"] == perfect["recall"] == 1
    hopeless = score([image([truth(0)], [])], ["a"], 0.5)
    assert hopeless["map50"] == 0
    assert hopeless["precision"] is None
    assert hopeless["recall"] == 0


def test_a_worked_example() -> None:
    """Two boxes; right at 0.9, wrong at 0.8, right at 0.7: precision 1 up to recall 0.5, then 2/3. COCO averages 101
    recalls: 51 of them (0 to 0.50) at 1, 50 at 2/3."""
    images = [image([truth(0), truth(50)], [found(0, 0.9), found(80, 0.8), found(50, 0.7)])]
    result = score(images, ["a"], 0.75)
    assert result["map50"] == pytest.approx((51 + 50 * 2 / 3) / 101, abs=1e-6)
    assert result["precision"] == 0.5
    assert result["recall"] == 0.5


def test_a_box_is_found_once() -> None:
    """The better overlap is not what counts: the more confident detection takes the box, the other is wrong."""
    scored = image([truth(0)], [found(2, 0.9), found(0, 0.8)])
    indices, boxes = match_image(scored, "a")
    assert indices.tolist() == [0, -1]
    assert boxes == 1


def test_overlap_of_exactly_one_half_counts() -> None:
    scored = ScoredImage("i", 100, 100, [Truth("a", 0, 0, 10, 10)], Detections([Detection("a", 0, 0.9, 0, 0, 10, 5)]))
    assert match_image(scored, "a")[0].tolist() == [0]


def test_categories_do_not_mix_and_empty_ones_do_not_count() -> None:
    images = [image([truth(0, category="a")], [found(0, 0.9, category="b")])]
    result = score(images, ["a", "b", "c"], 0.5)
    assert result["per_class"]["a"] == {"ap50": 0.0, "ap50_95": 0.0, "boxes": 1}
    assert result["per_class"]["b"] == result["per_class"]["c"] == {"ap50": None, "ap50_95": None, "boxes": 0}
    assert result["map50"] == 0


def test_nothing_labeled_is_not_a_number() -> None:
    assert score([image([], [found(0, 0.9)])], ["a"], 0.5)["map50"] is None


@pytest.mark.parametrize("seed", range(4))
def test_our_matching_gives_the_evaluators_ap(seed: int) -> None:
    images = random_images(seed, 40, 0.7)
    result = score(images, ["a", "b"], 0.5)
    for name in ("a", "b"):
        assert match(images, name).average_precision() == pytest.approx(result["per_class"][name]["ap50"], abs=1e-5)
    assert 0.2 < result["map50"] < 1


def test_a_weighted_image_is_a_repeated_image() -> None:
    """The bootstrap weighs images instead of copying them; copying must give the same average precision."""
    images = random_images(3, 25, 0.6)
    weights = np.random.default_rng(0).integers(0, 4, len(images)).astype(float)
    copies = [scored for scored, weight in zip(images, weights, strict=True) for _ in range(int(weight))]
    for name in ("a", "b"):
        weighted = match(images, name).average_precision(weights)
        assert weighted == pytest.approx(match(copies, name).average_precision(), abs=1e-9)
        assert weighted == pytest.approx(score(copies, [name], 0.5)["per_class"][name]["ap50"], abs=1e-5)


def test_the_bootstrap_is_brute_force_over_the_same_draws() -> None:
    ours, theirs = random_images(1, 12, 0.9), random_images(2, 12, 0.5)
    result = compare(ours, theirs, ["a", "b"], resamples=40, seed=5)
    draws = np.random.default_rng(5).multinomial(12, np.full(12, 1 / 12), size=40)
    differences = []
    for draw in draws:
        chosen = [i for i, times in enumerate(draw) for _ in range(times)]
        differences.append(
            score([ours[i] for i in chosen], ["a", "b"], 0.5)["map50"]
            - score([theirs[i] for i in chosen], ["a", "b"], 0.5)["map50"]
        )
    assert result["interval"] == pytest.approx(np.quantile(differences, (0.025, 0.975)).tolist(), abs=1e-5)
    whole = score(ours, ["a", "b"], 0.5)["map50"] - score(theirs, ["a", "b"], 0.5)["map50"]
    assert result["map50_difference"] == pytest.approx(whole, abs=1e-5)
    assert result["resamples"] == 40


def test_the_interval_tells_better_from_equal() -> None:
    good, bad = random_images(1, 60, 0.95), random_images(2, 60, 0.4)
    low, high = compare(good, bad, ["a", "b"])["interval"]
    assert 0 < low < high
    same = compare(good, good, ["a", "b"])
    assert same["map50_difference"] == 0
    assert same["interval"] == [0, 0]
    low, high = compare(random_images(1, 60, 0.7), random_images(7, 60, 0.7), ["a", "b"])["interval"]
    assert low < 0 < high


def test_the_same_seed_gives_the_same_interval() -> None:
    ours, theirs = random_images(1, 30, 0.8), random_images(2, 30, 0.6)
    assert compare(ours, theirs, ["a", "b"], seed=1) == compare(ours, theirs, ["a", "b"], seed=1)
    assert (
        compare(ours, theirs, ["a", "b"], seed=1)["interval"] != compare(ours, theirs, ["a", "b"], seed=2)["interval"]
    )


def test_a_category_absent_from_a_draw_is_left_out_of_it() -> None:
    """One box of b in thirty images: a third of the draws lack it, and must not count it as 0."""
    images = [image([truth(0)], [found(0, 0.9)]) for _ in range(29)]
    images.append(image([truth(0, category="b")], [found(0, 0.9, category="b")]))
    worse = [image(list(j.truth), [d for d in j.detections if d.category == "a"], j.name) for j in images]
    result = compare(images, worse, ["a", "b"], resamples=200)
    assert result["map50_difference"] == 0.5
    assert result["interval"] == [0.0, 0.5]


def test_scores_by_size_and_flight() -> None:
    small, large = truth(0), Truth("a", 0, 20, 100, 100)
    north = ScoredImage("1", 200, 200, [small, large], Detections([found(0, 0.9)]), "north")
    south = ScoredImage("2", 200, 200, [small], Detections([found(0, 0.8)]), "south")
    result = score([north, south], ["a"], 0.5)
    assert result["by_size"] == {
        "small": {"map50": 1, "boxes": 2},
        "medium": {"map50": None, "boxes": 0},
        "large": {"map50": 0, "boxes": 1},
    }
    assert result["by_flight"]["south"] == {"map50": 1, "boxes": 1}
    assert result["by_flight"]["north"]["map50"] == pytest.approx(51 / 101, abs=1e-6)


@pytest.mark.parametrize("wrong", [None, 6_000, 20_000])
def test_of_thousands_of_right_detections_some_are_enough(wrong: int | None) -> None:
    """Each average precision is within a thousandth of the exact one, and their mean within half of that.

    wrong: where a block of wrong detections begins, as many as there are before.
    """
    random = np.random.default_rng(3)
    scores = np.sort(random.random(60_000))[::-1]
    right = random.random(60_000) < scores**2
    if wrong:
        right[wrong : 2 * wrong] = False
    image = random.integers(0, 300, 60_000)
    boxes = np.bincount(image[right], minlength=300) + random.integers(0, 30, 300)
    matches, groups = Matches(scores, right, image, boxes.astype(float)), np.arange(300) // 15
    resampled = Resampled(matches, groups)
    assert resampled.points < right.sum() / 5
    weights = random.multinomial(20, np.full(20, 1 / 20), size=50).astype(float)
    apart = resampled.average_precision(weights) - [matches.average_precision(one[groups]) for one in weights]
    assert np.abs(apart).max() < 0.001
    assert np.abs(apart.mean()) < 0.0005


def test_flights_are_resampled_where_there_are_enough() -> None:
    ours, theirs = random_images(1, 40, 0.9), random_images(2, 40, 0.5)
    of_flights = [[replace(i, flight=str(n // 4)) for n, i in enumerate(images)] for images in (ours, theirs)]
    result = compare(*of_flights, ["a", "b"], resamples=30, seed=5)
    assert result["method"] == "paired bootstrap over flights"
    differences = []
    for draw in np.random.default_rng(5).multinomial(10, np.full(10, 0.1), size=30):
        chosen = [4 * flight + n for flight, times in enumerate(draw) for _ in range(times) for n in range(4)]
        scores = [score([images[i] for i in chosen], ["a", "b"], 0.5)["map50"] for images in (ours, theirs)]
        differences.append(scores[0] - scores[1])
    assert result["interval"] == pytest.approx(np.quantile(differences, (0.025, 0.975)).tolist(), abs=1e-5)
    few = [[replace(i, flight=str(n // 10)) for n, i in enumerate(images)] for images in (ours, theirs)]
    assert compare(*few, ["a", "b"], resamples=30)["method"] == "paired bootstrap over images"


def test_an_interval_says_what_was_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = random_images(1, 12, 0.9), random_images(2, 12, 0.5)
    monkeypatch.setattr(metrics, "MOST_GROUPS", 5)
    assert compare(ours, theirs, ["a", "b"], resamples=30)["method"] == "paired bootstrap over 5 blocks of images"
    assert compare(ours[:5], theirs[:5], ["a", "b"], resamples=30)["method"] == "paired bootstrap over images"


def test_one_image_is_no_certainty() -> None:
    """Whatever is drawn of one is that one: the interval would have no width."""
    good = image([truth(0), truth(50)], [found(0, 0.9), found(50, 0.8)])
    bad = image([truth(0), truth(50)], [found(0, 0.9)])
    result = compare([bad], [good], ["a"], resamples=30)
    assert result["map50_difference"] == pytest.approx(51 / 101 - 1, abs=1e-6)
    assert result["interval"] == [-1, 1]


def test_best_confidence() -> None:
    images = [image([truth(0), truth(50)], [found(0, 0.8), found(50, 0.6), found(80, 0.55), found(30, 0.5)])]
    assert best_confidence(images, ["a"]) == 0.6
    assert best_confidence([image([truth(0)], [])], ["a"], default=0.25) == 0.25
    assert best_confidence([image([truth(0)], [found(0, 0.99)])], ["a"]) == 0.9


def test_average_precision_without_boxes_is_not_a_number() -> None:
    assert math.isnan(match([image([], [found(0, 0.9)])], "a").average_precision())


def test_confusion() -> None:
    images = [
        image(
            [truth(0, category="a"), truth(30, category="a"), truth(60, category="b")],
            [found(0, 0.9, category="a"), found(30, 0.8, category="b"), found(85, 0.7, category="b"), found(60, 0.1)],
        )
    ]
    assert confusion(images, ["a", "b"], 0.5).tolist() == [[1, 1, 0], [0, 0, 1], [0, 1, 0]]


@pytest.mark.parametrize(("side", "cut"), [(None, False), (800, False), (799, True), (16384, False)])
def test_a_report_speaks_of_slices_where_a_picture_was_cut(side: int | None, cut: bool) -> None:
    slicing = {"side": side, "whole": True, "coarse": None, "cost": 2.0, "map50_without": 0.4}
    images = [ScoredImage("a", 640, 512, [], Detections([])), ScoredImage("b", 1000, 800, [], Detections([]))]
    said = _slicing({"slicing": slicing, "candidate": {"map50": 0.5}}, images)
    assert ("Without slices" in said) == cut
    assert ("once, as a whole" in said) != cut


def test_the_part_that_is_shown_of_a_large_picture_holds_the_most_mistakes_and_ends_with_it() -> None:
    far = [Truth("a", left, 2500, 16, 16) for left in (3100, 3150, 3180)]
    assert densest_part([Truth("a", 10, 10, 16, 16), *far], 3200, 2560) == (2640, 2000, 560, 560)
    assert densest_part([Truth("a", 1000, 5, 16, 16)], 3200, 300) == (728, 0, 560, 300)
