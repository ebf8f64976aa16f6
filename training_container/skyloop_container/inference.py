"""The detector as it is served: views of a picture, letterbox, the exported network, suppression, merging at seams.

Used by the endpoint, by the evaluation and by the exporter, so that the gate judges exactly what is served.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import coarse, engines
from .card import Card, read
from .engines.base import Engine
from .environment import JobError
from .scaling import read_by, scaled
from .seams import SAME_IOU, UNSURE, Found, merge, suppress
from .slicing import SLACK, SlicingPlan, View, cost

PAD = 114  # gray of the letterbox border, as in Ultralytics' training
MAX_DETECTIONS = 300  # on one slice
STRIDE = 32  # pixels: both sides of the network's input are multiples of it
BATCH_PIXELS = 640 * 640
"""Of the network's input, at once. More would not stay in a processor's cache: four slices of 960 x 768 take a fifth
longer together than one by one."""
NMS_CANDIDATES = 3000  # the most confident ones; suppression takes the square of their number, and 0.1 s for these
EVALUATION_CONFIDENCE = 0.001  # keep nearly every box: average precision needs the whole curve


@dataclass(frozen=True, slots=True)
class Detection:
    """One box in displayed pixels of the original image, clipped to it."""

    category: str
    category_id: int
    confidence: float
    left: float
    top: float
    width: float
    height: float

    def as_dict(self) -> dict[str, Any]:
        """As the endpoint answers it: confidence to 4 digits, pixels to 2."""
        return {
            "category": self.category,
            "category_id": self.category_id,
            "confidence": round(self.confidence, 4),
            "left": round(self.left, 2),
            "top": round(self.top, 2),
            "width": round(self.width, 2),
            "height": round(self.height, 2),
        }


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model says about one image: detections, most confident first, and the projected features (k floats).

    looks: what the network had to do, as `slicing.cost` gives it.
    """

    detections: list[Detection]
    features: list[float]
    looks: float = 1.0


@dataclass(frozen=True, slots=True)
class Letterbox:
    """How a picture was fitted into the network's input: input = original * (across, down) + (left, top).

    The two scales differ where the sides were rounded to whole pixels.
    """

    across: float
    down: float
    left: int
    top: int

    def original(self, points: np.ndarray) -> np.ndarray:
        """Where (..., 2) points of the input, x and y, lie in the picture."""
        return (points - (self.left, self.top)) / (self.across, self.down)


def letterbox(
    image: np.ndarray, scale: float, square: bool = False, size: tuple[int, int] | None = None
) -> tuple[np.ndarray, Letterbox]:
    """Scale a picture, and pad it centrally to whole strides, or to a square, as Ultralytics' LetterBox does.

    Args:
        image: (rows, columns, 3) uint8.
        scale: from the picture's pixels to those of the network's input.
        square: pad to a square of the long side.
        size: width and height of the picture in its own pixels, where it was read with fewer.

    Returns:
        The (h, w, 3) uint8 picture, sides multiples of STRIDE, and how it was fitted.
    """
    width, height = size or (image.shape[1], image.shape[0])
    fitted = scaled(image, scale, (width, height))
    new_height, new_width = fitted.shape[:2]
    to_width, to_height = (-(-side // STRIDE) * STRIDE for side in (new_width, new_height))
    if square:
        to_width = to_height = max(to_width, to_height)
    # The 0.1 decides which side gets the odd pixel, in the same way as in training.
    left, top = round((to_width - new_width) / 2 - 0.1), round((to_height - new_height) / 2 - 0.1)
    padded = np.full((to_height, to_width, 3), PAD, dtype=np.uint8)
    padded[top : top + new_height, left : left + new_width] = fitted
    return padded, Letterbox(new_width / width, new_height / height, left, top)


def select_boxes(
    output: np.ndarray, confidence: float, iou: float = SAME_IOU, limit: int = MAX_DETECTIONS
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Take the boxes worth keeping out of a YOLO11 head's output: one category each, suppressed per category.

    Args:
        output: (4 + categories, anchors): center x, center y, width, height in input pixels, then a score per category.
        confidence: boxes scoring below it are dropped.
        iou: of two boxes of one category that overlap more than this, the less confident one is dropped.
        limit: the largest number of boxes to keep, of the NMS_CANDIDATES most confident ones.

    Returns:
        boxes (n, 4) left, top, width, height in input pixels; scores (n,); category ids (n,); most confident first.
    """
    scores = output[4:].max(axis=0, initial=0.0)
    candidates = np.flatnonzero(scores >= confidence)
    scores = scores[candidates]
    categories = output[4:, candidates].argmax(axis=0)
    boxes = output[:4, candidates].T.astype(np.float64)
    boxes[:, :2] -= boxes[:, 2:] / 2
    kept = suppress(boxes, scores, categories, iou, NMS_CANDIDATES)
    kept = kept[np.argsort(-scores[kept], kind="stable")][:limit]
    return boxes[kept], scores[kept], categories[kept]


def select_in_parts(
    output: np.ndarray, confidence: float, parts: tuple[int, ...], iou: float = SAME_IOU
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `select_boxes`, but of so many parts across and down, each of which may have so many boxes and candidates.

    A window of several slices holds as many objects as they would. Suppression in each part keeps its time in bounds,
    and one over what is left of all takes what two neighbors have both kept.
    """
    across, down = parts
    if across * down == 1 or not output.shape[1]:
        return select_boxes(output, confidence, iou)
    ends = output[:2].max(axis=1) + 1
    column, row = (output[:2].T * parts / ends).astype(int).T.clip(0)  # a center may lie outside, left or above
    selected = [
        select_boxes(output[:, column + across * row == part], confidence, iou) for part in range(across * down)
    ]
    boxes, scores, categories = (np.concatenate([one[i] for one in selected]) for i in range(3))
    kept = suppress(boxes, scores, categories, iou)
    kept = kept[np.argsort(-scores[kept], kind="stable")]
    return boxes[kept], scores[kept], categories[kept]


class Detector:
    """A model that is ready to predict. Safe to use from several threads."""

    def __init__(self, card: Card | dict[str, Any], engine: Engine) -> None:
        """Put a model together.

        Args:
            card: the content of model.json, checked or not.
            engine: runs the network. Whether it fits the card is for `engine_choice.verify` to say.

        Raises:
            ValueError: the card is damaged.
        """
        self.card = card = Card.model_validate(card)
        self.engine = engine
        self.categories = card.categories
        self.size = card.imgsz
        self.confidence = card.confidence_default
        self.plan = card.plan
        self.window = card.window
        self._square = card.from_before_slicing
        self._mean = np.asarray(card.features.mean, dtype=np.float32)
        self._components = np.asarray(card.features.components, dtype=np.float32)
        self._pictures = 0  # that are worked on
        self._lock = threading.Lock()

    @classmethod
    def load(cls, model_dir: Path, threads: int, pictures: int = 1, engine: str = engines.REFERENCE) -> "Detector":
        """Load a model directory.

        Args:
            model_dir: holds model.json and model.onnx.
            threads: the engine's, for each of several pictures.
            pictures: that are predicted at once.
            engine: one of `engines.ENGINES`.

        Raises:
            JobError: a file is missing or damaged.
            EngineMissing: this machine cannot run the engine.
        """
        card = read(model_dir)
        try:
            return cls(card, engines.load(engine, model_dir, threads, pictures))
        except (OSError, ValueError, RuntimeError) as error:
            raise JobError(f"The model in {model_dir} cannot be loaded: {error}.") from error

    @contextmanager
    def picture(self) -> Iterator[None]:
        """Around all work on one picture, decoding too: while it is the only one, the network gets all cores."""
        with self._lock:
            self._pictures += 1
        try:
            yield
        finally:
            with self._lock:
                self._pictures -= 1

    def views(self, width: int, height: int, plan: SlicingPlan | None = None) -> list[View]:
        """What to look at of a picture of `width` x `height` pixels; plan: how to cut it, default the model's own."""
        return (plan or self.plan).views(width, height, self.size)

    def factor(self, width: int, height: int) -> int:
        """By what the sides of a picture may be divided as it is read, for nothing looks at it more closely."""
        # The profile sees what is little larger than a slice at the scale of slices.
        side = self.size if self.plan.side is None else round(self.size * SLACK)
        return self.plan.factor(width, height, side)

    def run(
        self, image: np.ndarray, views: list[View], size: tuple[int, int] | None = None
    ) -> Iterator[tuple[View, Letterbox, np.ndarray, np.ndarray]]:
        """The network's raw outputs for views of one RGB picture, a few at once.

        size: width and height of the picture in its own pixels, where it was read with fewer: by up to `factor` on
            either side, which then divides the left and the top of each view.

        Yields:
            The view, how it was fitted, (4 + categories, anchors), and pooled features (2 * channels,).
        """
        for batch in self._batches(image, views, size):
            blob = np.stack([padded for _, padded, _ in batch]).transpose(0, 3, 1, 2)
            pixels = np.multiply(blob, np.float32(1 / 255), dtype=np.float32)
            outputs, pooled = self.engine.run(pixels, alone=self._pictures == 1)
            for (view, _, fit), output, features in zip(batch, outputs, pooled, strict=True):
                yield view, fit, output, features

    def _batches(
        self, image: np.ndarray, views: list[View], size: tuple[int, int] | None
    ) -> Iterator[list[tuple[View, np.ndarray, Letterbox]]]:
        """Views with the network's inputs, in batches of one shape."""
        factor = read_by(image, *size) if size else 1
        batch: list[tuple[View, np.ndarray, Letterbox]] = []
        for view in views:
            part = image[view.top // factor : -(-view.bottom // factor), view.left // factor : -(-view.right // factor)]
            pixels, fit = letterbox(part, view.scale, self._square, (view.width, view.height))
            full = batch and (len(batch) + 1) * pixels[..., 0].size > BATCH_PIXELS
            if full or (batch and batch[0][1].shape != pixels.shape):
                yield batch
                batch = []
            batch.append((view, pixels, fit))
        if batch:
            yield batch

    def predict(
        self,
        image: np.ndarray,
        confidence: float | None = None,
        plan: SlicingPlan | None = None,
        size: tuple[int, int] | None = None,
    ) -> Prediction:
        """Detect objects in one picture, however large: its views one by one, and what they have in common once.

        Args:
            image: (rows, columns, 3) uint8 RGB, displayed orientation.
            confidence: in [0, 1]; default the one chosen on the validation images at training.
            plan: how to cut the picture; default the model's own.
            size: its width and height in its own pixels, where it was read with fewer, by `self.factor` or less.

        Returns:
            Detections in pixels of the picture, as it is and not as it was read.
        """
        width, height = size or (image.shape[1], image.shape[0])
        plan = plan or self.plan
        views = self.views(width, height, plan)
        if plan.coarse is None or len(views) == 1:
            found, pooled = self.look(image, views, confidence, size)
            looks = cost(views, self.size)
            if plan.side is not None:
                known = self._known(width, height, plan)
                pooled, looks = self.look(image, [known], size=size)[1], looks + cost([known], self.size)
        else:
            found, pooled, looks = self._look_twice(image, views, plan, plan.coarse, confidence)
        features = self._components @ (pooled - self._mean) if self._components.size else np.zeros(0)
        return Prediction(self.merged(found, width, height, confidence), features.tolist(), looks)

    def pooled(self, image: np.ndarray, plan: SlicingPlan) -> np.ndarray:
        """The features of a picture before they are projected, (2 * channels,): see `_known`."""
        height, width = image.shape[:2]
        return self.look(image, [self._known(width, height, plan)])[1]

    def _known(self, width: int, height: int, plan: SlicingPlan) -> View:
        """By which view a picture's features are known: with slices by a coarse look at the one in the middle.

        It shows as much ground at the same scale whatever the picture's size, unless that is smaller than a slice, and
        does not depend on what else is looked at, nor on how much larger slices are where there would be too many. The
        mean over all views would spread less the larger the frames are, and the whole of a large frame looks like
        another altitude: both are drift to the alarm.
        """
        if plan.side is None:
            return plan.sample(width, height, self.size)[0]
        return coarse.coarse(coarse.middle(width, height, plan.side, self.size, STRIDE))

    def look(
        self,
        image: np.ndarray,
        views: list[View],
        confidence: float | None = None,
        size: tuple[int, int] | None = None,
    ) -> tuple[list[Found], np.ndarray]:
        """What the network finds on each view, in pixels of the whole picture; the mean features, (2 * channels,)."""
        found, pooled = [], []
        for view, fit, output, features in self.run(image, views, size):
            found.append(self.found(view, fit, output, confidence))
            pooled.append(features)
        return found, np.mean(pooled, axis=0)

    def found(
        self, view: View, fit: Letterbox, output: np.ndarray, confidence: float | None = None, iou: float = SAME_IOU
    ) -> Found:
        """What the network found on a view, in pixels of the picture: all that an answer at `confidence` depends on.

        view, fit, output: as `run` yields them; confidence, iou: as `merge` takes them.
        """
        if view.larger_than:  # before the others could take their places
            sides = output[2:4] / np.array([[fit.across], [fit.down]])
            output = output[:, sides.max(axis=0) > view.larger_than]
        parts = tuple(max(round(side * view.scale / self.size), 1) for side in (view.width, view.height))
        least = UNSURE * (self.confidence if confidence is None else confidence)
        boxes, scores, categories = select_in_parts(output, least, parts, iou)
        corners = np.stack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
        boxes = (fit.original(corners) + np.array([view.left, view.top])).reshape(-1, 4)
        return view, boxes, scores, categories

    def _look_twice(
        self, image: np.ndarray, views: list[View], plan: SlicingPlan, enough: float, confidence: float | None
    ) -> tuple[list[Found], np.ndarray, float]:
        """Look closely only where a coarse look shows something; returns also the looks of both.

        At a sample first: where that is full of objects, so is the rest, and more coarse looks would be in vain.
        """
        height, width = image.shape[:2]
        middle = coarse.middle(width, height, plan.side or max(width, height), self.size, STRIDE)
        coarsely = [middle, *plan.sample(width, height, self.size)[1:]]
        seen = list(self.run(image, [coarse.coarse(view) for view in coarsely]))
        shares = [
            (_evidence(part, view, fit, output) >= enough).mean()
            for part, (view, fit, output, _) in zip(coarsely, seen, strict=True)
        ]
        sparse, closely = np.median(shares) <= coarse.SPARSE, []
        for view in views:
            places = None
            if sparse and not view.larger_than:
                coarsely.append(view)
                common = round(plan.overlap * self.size / view.scale)  # of slices that may be larger than the plan's
                places = coarse.places(view, self.evidence(image, view) >= enough, common)
            closely += [view] if places is None else places
        found = [self.found(view, fit, output, confidence) for view, fit, output, _ in self.run(image, closely)]
        looks = cost([*map(coarse.coarse, coarsely), *closely], self.size)
        return found, seen[0][-1], looks  # of `_known`

    def evidence(self, image: np.ndarray, window: View) -> np.ndarray:
        """What a coarse look at a window shows: see `coarse.evidence`."""
        ((view, fit, output, _),) = self.run(image, [coarse.coarse(window)])
        return _evidence(window, view, fit, output)

    def merged(self, found: list[Found], width: int, height: int, confidence: float | None) -> list[Detection]:
        """What was found on the views of one picture, every object once, most confident first.

        confidence: that `found` was asked for, see there.
        """
        least = self.confidence if confidence is None else confidence
        return [
            Detection(
                self.categories[category],
                int(category),
                float(score),
                float(left),
                float(top),
                float(right - left),
                float(bottom - top),
            )
            for (left, top, right, bottom), score, category in zip(*merge(found, width, height, least), strict=True)
        ]


def _evidence(window: View, view: View, fit: Letterbox, output: np.ndarray) -> np.ndarray:
    """What a view's raw output shows near each cell of a window."""
    centers = fit.original(output[:2].T) + np.array([view.left, view.top])
    inside = ((centers >= (window.left, window.top)) & (centers < (window.right, window.bottom))).all(axis=1)
    return coarse.evidence(window, centers[inside], output[4:, inside].max(axis=0))
