"""Which slicing plan a trained model is served with: several are tried on validation pictures."""

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from . import coarse
from .dataset import Sample, spread, with_pictures
from .detections import Detections, ScoredImage
from .inference import EVALUATION_CONFIDENCE, Detector
from .labels_check import LEAST_BOXES
from .metrics import best_confidence, match_image, score
from .predictions import score_image, truth_of
from .seams import Found
from .slicing import SLACK, SMALL, SlicingPlan, View, cost

FIT_IMAGES = 500  # training pictures that the PCA of the features is fitted on, evenly spaced
CONFIDENCE_IMAGES = 500  # validation pictures that the plan and the confidence are chosen on
PLAN_COST = 4000.0  # squares of the network's input to choose a plan, at most: some minutes on two cores
LEAST_IMAGES = 20  # validation pictures for that, however large they are and whatever they cost
COARSER = 1.5  # times the side of the slices that the model was trained for: half as many slices
AS_GOOD = 0.005  # mAP50: no difference that is worth twice the time
WEAK = 10 * AS_GOOD
"""mAP50: what a model that finds less loses with a plan says little of what the plan costs a better one."""
LEAST_OBJECTS = 100
"""Objects that the plan finds, and cells without any, or too little is known of what a coarse look shows."""
SURE = 0.75
"""Of the least that a coarse look showed of an object: elsewhere it may show a little less."""
MOST_EMPTY = 0.25
"""Of the cells without an object: where more show as much as the objects do, a coarse look tells nothing."""
COARSE_COST = 1.1
"""Times the cost of the plan that a coarse look may bring it to, on pictures that are full of objects."""


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What a plan is confirmed with: see `confirmation`.

    plans: to try, the one that is trained for first.
    samples: validation pictures to try them on.
    looks: what the network has to do for it at most, in squares of its input.
    """

    plans: list[SlicingPlan]
    samples: list[Sample]
    looks: float


def confirmation(plan: SlicingPlan, imgsz: int, validation: list[Sample], side_is_fixed: bool) -> Confirmation:
    """How a plan is confirmed on validation pictures: known before the training, whose time it takes some of.

    Plans differ on the pictures that they cut, so these are half of all that are looked at, where there are so many.
    PLAN_COST bounds how many those are, but not below LEAST_IMAGES.

    Args:
        plan: that is trained for.
        imgsz: side of the network's input.
        validation: all pictures.
        side_is_fixed: only plans with the same side may be taken.
    """
    plans = [plan]
    if plan.side is not None:
        plans.append(replace(plan, whole=False))
        plans += [] if side_is_fixed else [replace(plan, side=round(plan.side * COARSER)), SlicingPlan()]
    cut = [plan.count(sample.width, sample.height) > 1 for sample in validation]
    numbers = [[number for number, one in enumerate(cut) if one is which] for which in (True, False)]

    @cache
    def looks(width: int, height: int) -> float:
        return _looks(plans, width, height, imgsz)

    count = min(len(validation), CONFIDENCE_IMAGES)
    while True:
        of_cut = min(len(numbers[0]), max(round(count * len(numbers[0]) / max(len(cut), 1)), -(-count // 2)))
        of_cut = max(of_cut, count - len(numbers[1]))
        chosen = sorted(spread(numbers[0], of_cut) + spread(numbers[1], count - of_cut))
        samples = [validation[number] for number in chosen]
        total = sum(looks(sample.width, sample.height) for sample in samples)
        if total <= PLAN_COST or count <= LEAST_IMAGES:
            return Confirmation(plans, samples, total)
        count = max(min(int(count * PLAN_COST / total), count - 1), LEAST_IMAGES)


def choose_plan(
    detector: Detector, train: list[Sample], validation: list[Sample], side_is_fixed: bool
) -> tuple[SlicingPlan, list[ScoredImage], list[dict[str, Any]]]:
    """Confirm the plan that the model was trained for on validation pictures, or take a cheaper one that is as good.

    The plan stays, and a line of the log says why, where pictures that it cuts have fewer than LEAST_BOXES boxes (even
    a plan that loses none of a hundred may lose one in thirty), or no plan finds as much on them as WEAK, or more than
    SMALL of the boxes that were trained on are on larger pictures than these: a plan may be as good on the small ones,
    and blind on the large.

    Args:
        detector: with the plan that the model was trained for.
        train: all pictures that were trained on.
        validation: all pictures; as many are looked at as `confirmation` says.
        side_is_fixed: only plans with the side of the detector's may be taken.

    Returns:
        The plan; the pictures with what it found; and for each plan its card with "cost", for one picture on average
        (see `slicing.cost`), "map50" (null without boxes) and the number of "boxes", of the pictures that are cut, if
        any are.
    """
    trial = confirmation(detector.plan, detector.size, validation, side_is_fixed)
    plans = trial.plans

    def views(plan: SlicingPlan, sample: Sample) -> list[View]:
        return detector.views(sample.width, sample.height, plan)

    def look(sample: Sample, image: np.ndarray) -> list[ScoredImage]:
        truth = truth_of(sample, detector.categories)
        seen: dict[View, Found] = {}
        for plan in plans:
            new = [view for view in views(plan, sample) if view not in seen]
            if new:
                seen |= zip(new, detector.look(image, new, EVALUATION_CONFIDENCE)[0], strict=True)
        width, height = sample.width, sample.height
        found = [
            detector.merged([seen[view] for view in views(plan, sample)], width, height, EVALUATION_CONFIDENCE)
            for plan in plans
        ]
        return [
            ScoredImage(
                sample.name,
                width,
                height,
                truth,
                Detections(one),
                sample.flight,
                cost(views(plan, sample), detector.size),
            )
            for plan, one in zip(plans, found, strict=True)
        ]

    looked = with_pictures("validation", trial.samples, detector.window, look)[0]
    cut = {sample.name for sample, _ in looked if plans[0].count(sample.width, sample.height) > 1}
    judged = cut or {sample.name for sample, _ in looked}
    scored = [[images[number] for _, images in looked] for number in range(len(plans))]
    measured = [_measured(plan, images, judged, detector) for plan, images in zip(plans, scored, strict=True)]
    if len(plans) == 1:
        return plans[0], scored[0], measured
    best = max(item["map50"] or 0.0 for item in measured)
    boxes = measured[0]["boxes"] if cut else 0
    longest = max((_longer(sample) for sample, _ in looked if sample.name in cut and sample.boxes), default=0)
    if reason := _nothing_tells(boxes, best) or _too_small(longest, train):
        print(f"slicing: as trained, for {reason}", flush=True)
        return plans[0], scored[0], measured
    as_good = [number for number, item in enumerate(measured) if item["map50"] >= best - AS_GOOD]
    chosen = min(as_good, key=lambda number: measured[number]["cost"])
    twice = _with_coarse_look(detector, plans[chosen], [sample for sample, _ in looked], scored[chosen])
    if twice is None:
        return plans[chosen], scored[chosen], measured
    plan, found = twice
    measured.append(_measured(plan, found, judged, detector))
    worth = measured[-1]["map50"] >= best - AS_GOOD and measured[-1]["cost"] <= COARSE_COST * measured[chosen]["cost"]
    return (plan, found, measured) if worth else (plans[chosen], scored[chosen], measured)


def export_looks(
    plan: SlicingPlan, imgsz: int, train: list[Sample], validation: list[Sample], side_is_fixed: bool
) -> float:
    """How much an export looks at, at most, in squares of the network's input, with the plan that is trained for.

    The plan is confirmed, and the features of some training pictures are taken. Arguments as for `confirmation`.
    """
    fitted_on = [(one.width, one.height) for one in spread(train, FIT_IMAGES)]
    trial = confirmation(plan, imgsz, validation, side_is_fixed)
    features = sum(max(cost(one.views(*size, imgsz), imgsz) for one in trial.plans) for size in fitted_on)
    return trial.looks + features


def _looks(plans: list[SlicingPlan], width: int, height: int, imgsz: int) -> float:
    """What the network has to do to confirm plans on a picture, at most, in squares of its input.

    What plans have in common is looked at once; then comes a coarse look, by itself, and before a close one.
    """
    twice = [0.0]
    for plan in plans:
        windows = [view for view in plan.views(width, height, imgsz) if not view.larger_than]
        if plan.count(width, height) > 1:
            coarsely = [*windows, *windows, *plan.sample(width, height, imgsz)]
            closely = plan.views(width, height, imgsz)
            twice.append(cost([*map(coarse.coarse, coarsely), *closely], imgsz))
    views = {view for plan in plans for view in plan.views(width, height, imgsz)}
    return cost(list(views), imgsz) + max(twice)


def _nothing_tells(boxes: int, best: float) -> str | None:
    """Why plans cannot be compared: by the boxes on pictures that are cut, and the best mAP50 of any plan there."""
    if boxes < LEAST_BOXES:
        return f"{boxes} labeled boxes of validation pictures that are cut are too few to compare plans by"
    if best < WEAK:
        return f"no plan finds enough to compare plans by: the best mAP50 is {best:.3f}"
    return None


def _too_small(longest: int, train: list[Sample]) -> str | None:
    """Why plans cannot be compared by pictures of so many pixels on their longer side: boxes are on larger ones."""
    boxes = sum(len(sample.boxes) for sample in train)
    larger = sum(len(sample.boxes) for sample in train if _longer(sample) > SLACK * longest)
    if larger <= SMALL * boxes:
        return None
    return (
        f"{larger} of {boxes} boxes that were trained on are on larger pictures than plans can be compared by: those of"
        f" validation have at most {longest} pixels"
    )


def _longer(sample: Sample) -> int:
    return max(sample.width, sample.height)


def _measured(plan: SlicingPlan, scored: list[ScoredImage], judged: set[str], detector: Detector) -> dict[str, Any]:
    images = [image for image in scored if image.name in judged]
    return plan.as_card() | {
        "cost": round(float(np.mean([image.looks for image in images])), 2),
        "map50": score(images, detector.categories, detector.confidence)["map50"],
        "boxes": sum(len(image.truth) for image in images),
    }


def _with_coarse_look(
    detector: Detector, plan: SlicingPlan, samples: list[Sample], scored: list[ScoredImage]
) -> tuple[SlicingPlan, list[ScoredImage]] | None:
    """The plan with a coarse look that shows every object which it finds without, and what it finds then.

    None: the plan has no slices, finds too few objects to say, or empty ground shows as much as objects do.
    """
    if plan.side is None:
        return None
    confidence = best_confidence(scored, detector.categories)
    found = {image.name: _found(image, detector.categories, confidence) for image in scored}

    def shown(sample: Sample, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What is seen where each object is, in a window that holds all of it, and in cells where none is near."""
        *windows, _ = detector.views(sample.width, sample.height, replace(plan, whole=True))
        boxes, labeled = found[sample.name], np.array([box[1:] for box in sample.boxes]).reshape(-1, 4)
        centers = boxes[:, :2] + boxes[:, 2:] / 2
        best, empty = np.zeros(len(boxes)), [np.zeros(0)]
        for window in windows:
            seen = detector.evidence(picture, window)
            inside = (boxes[:, :2] >= (window.left, window.top)).all(axis=1) & (
                boxes[:, :2] + boxes[:, 2:] <= (window.right, window.bottom)
            ).all(axis=1)
            best[inside] = np.maximum(best[inside], seen[coarse.cells(window, centers[inside])])
            near = np.zeros(seen.shape, dtype=np.float32)
            near[coarse.cells(window, labeled[:, :2])] = near[coarse.cells(window, labeled[:, :2] + labeled[:, 2:])] = 1
            empty.append(seen[coarse.around(near) == 0])
        return best[best > 0], np.concatenate(empty)

    seen = [one for _, one in with_pictures("validation", samples, detector.window, shown)[0]]
    objects, empty = (np.concatenate([one[i] for one in seen]) for i in (0, 1))
    if min(len(objects), len(empty)) < LEAST_OBJECTS:
        return None
    enough = float(SURE * objects.min())
    if (empty >= enough).mean() > MOST_EMPTY:
        return None
    twice = replace(plan, coarse=enough)

    def look(sample: Sample, picture: np.ndarray) -> ScoredImage:
        return score_image(detector, sample, picture, detector.categories, twice)

    return twice, [image for _, image in with_pictures("validation", samples, detector.window, look)[0]]


def _found(image: ScoredImage, categories: list[str], confidence: float) -> np.ndarray:
    """The boxes of objects that were found with some confidence, (n, 4) left, top, width, height in pixels."""
    boxes = []
    for category in categories:
        of_category, confidences = image.detections.of(category)
        boxes.append(of_category[(match_image(image, category)[0] >= 0) & (confidences >= confidence)])
    return np.concatenate([np.zeros((0, 4)), *boxes])
