"""The detector as it is served: letterbox, the exported network, non-maximum suppression.

Used by the endpoint, by the evaluation and by the exporter, so that the gate judges exactly what is served.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from .engines.base import Engine
from .engines.onnx import OnnxEngine
from .environment import JobError

PAD = 114  # gray of the letterbox border, as in Ultralytics' training
NMS_IOU = 0.7
MAX_DETECTIONS = 300
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
    """What the model says about one image: detections, most confident first, and the projected features (k floats)."""

    detections: list[Detection]
    features: list[float]


@dataclass(frozen=True, slots=True)
class Letterbox:
    """How an image was fitted into the square input: input = original * scale + (left, top)."""

    scale: float
    left: int
    top: int


def letterbox(image: np.ndarray, size: int) -> tuple[np.ndarray, Letterbox]:
    """Scale an image to fit a square and pad it centrally, as Ultralytics' LetterBox(auto=False) does.

    Args:
        image: (height, width, 3) uint8.
        size: side of the square in pixels.

    Returns:
        The (size, size, 3) uint8 picture, and how it was fitted.
    """
    height, width = image.shape[:2]
    scale = min(size / height, size / width)
    new_width, new_height = max(round(width * scale), 1), max(round(height * scale), 1)
    if (new_width, new_height) != (width, height):
        image = cv2.resize(image, (new_width, new_height), interpolation=cv2.INTER_LINEAR)
    # The 0.1 decides which side gets the odd pixel, in the same way as in training.
    left, top = round((size - new_width) / 2 - 0.1), round((size - new_height) / 2 - 0.1)
    square = np.full((size, size, 3), PAD, dtype=np.uint8)
    square[top : top + new_height, left : left + new_width] = image
    return square, Letterbox(scale, left, top)


def select_boxes(
    output: np.ndarray, confidence: float, iou: float = NMS_IOU, limit: int = MAX_DETECTIONS
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
    scores = output[4:].max(axis=0)
    candidates = np.flatnonzero(scores >= confidence)
    scores = scores[candidates]
    categories = output[4:, candidates].argmax(axis=0)
    boxes = output[:4, candidates].T.astype(np.float64)
    boxes[:, :2] -= boxes[:, 2:] / 2
    if len(boxes):
        # OpenCV's stub asks for sequences of floats; the function takes arrays, and faster.
        found = cv2.dnn.NMSBoxesBatched(boxes, scores, categories, 0.0, iou, top_k=NMS_CANDIDATES)  # type: ignore[arg-type]
        kept = np.array(found, dtype=int).reshape(-1)
        kept = kept[np.argsort(-scores[kept], kind="stable")][:limit]
        boxes, scores, categories = boxes[kept], scores[kept], categories[kept]
    return boxes, scores, categories


class Detector:
    """A model that is ready to predict. Safe to use from several threads."""

    def __init__(self, card: dict[str, Any], engine: Engine) -> None:
        """Put a model together.

        Args:
            card: the content of model.json.
            engine: runs the network.

        Raises:
            KeyError, TypeError, ValueError: the card lacks something.
        """
        self.card = card
        self.engine = engine
        self.categories: list[str] = card["categories"]
        self.size: int = card["imgsz"]
        self.confidence: float = card["confidence_default"]
        self._mean = np.asarray(card["features"]["mean"], dtype=np.float32)
        self._components = np.asarray(card["features"]["components"], dtype=np.float32)

    @classmethod
    def load(cls, model_dir: Path, threads: int) -> "Detector":
        """Load a model directory.

        Args:
            model_dir: holds model.json and the engine's file.
            threads: the engine's, for one image.

        Raises:
            JobError: a file is missing or damaged.
        """
        try:
            card = json.loads((model_dir / "model.json").read_text(encoding="utf-8"))
            return cls(card, OnnxEngine(model_dir, threads))
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise JobError(f"The model in {model_dir} cannot be loaded: {error}.") from error

    def run(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray, Letterbox]:
        """The network's raw outputs for one RGB image: (4 + categories, anchors), pooled features (2 * channels,)."""
        square, fit = letterbox(image, self.size)
        blob = np.multiply(square.transpose(2, 0, 1)[None], np.float32(1 / 255), dtype=np.float32)
        output, pooled = self.engine.run(blob)
        return output[0], pooled[0], fit

    def predict(self, image: np.ndarray, confidence: float | None = None) -> Prediction:
        """Detect objects in one image.

        Args:
            image: (height, width, 3) uint8 RGB, displayed orientation.
            confidence: in [0, 1]; default the one chosen on the validation images at training.
        """
        output, pooled, fit = self.run(image)
        threshold = self.confidence if confidence is None else confidence
        height, width = image.shape[:2]
        detections = []
        for box, score, category in zip(*select_boxes(output, threshold), strict=True):
            left, top = (box[0] - fit.left) / fit.scale, (box[1] - fit.top) / fit.scale
            right, bottom = min(left + box[2] / fit.scale, width), min(top + box[3] / fit.scale, height)
            left, top = max(left, 0.0), max(top, 0.0)
            if right > left and bottom > top:  # a box may lie completely in the border
                detections.append(
                    Detection(
                        self.categories[category],
                        int(category),
                        float(score),
                        float(left),
                        float(top),
                        float(right - left),
                        float(bottom - top),
                    )
                )
        features = (self._components @ (pooled - self._mean)).tolist() if self._components.size else []
        return Prediction(detections, features)
