"""Letterbox and box selection against worked examples and brute force."""

import numpy as np
import pytest
from skyloop_container import inference
from skyloop_container.inference import PAD, Detector, letterbox, select_boxes
from skyloop_container.scaling import scaled


@pytest.mark.parametrize(
    ("height", "width", "scale", "left", "top", "padded"),
    [
        (64, 64, 1.0, 0, 0, (64, 64)),
        (32, 64, 1.0, 0, 0, (32, 64)),
        (128, 64, 0.5, 0, 0, (64, 32)),
        (33, 64, 1.0, 0, 15, (64, 64)),
        (30, 64, 1.0, 0, 1, (32, 64)),
        (16, 16, 4.0, 0, 0, (64, 64)),
        (226, 341, 64 / 341, 0, 11, (64, 64)),
        (3648, 5472, 64 / 5472, 0, 10, (64, 64)),
    ],
)
def test_letterbox_geometry(
    height: int, width: int, scale: float, left: int, top: int, padded: tuple[int, int]
) -> None:
    image = np.full((height, width, 3), 7, dtype=np.uint8)
    fitted, fit = letterbox(image, scale)
    assert fitted.shape == (*padded, 3)
    assert (fit.left, fit.top) == (left, top)
    corners = np.array([[left, top], [left + round(width * scale), top + round(height * scale)]])
    assert fit.original(corners).tolist() == [[0, 0], [width, height]]
    inside = fitted[top : top + round(height * scale), left : left + round(width * scale)]
    assert (inside == 7).all()
    assert (fitted == PAD).sum() == fitted.size - inside.size
    assert letterbox(image, scale, square=True)[0].shape == (64, 64, 3)


@pytest.mark.parametrize("square", [True, False])
def test_letterbox_is_ultralytics_letterbox(tmp_path, square: bool) -> None:
    """Training letterboxes with Ultralytics' class; the served model must see the same pixels.

    They are scaled down as they are cut: see `training_set`.
    """
    from skyloop_container.ultralytics_setup import prepare

    prepare(tmp_path)
    from ultralytics.data.augment import LetterBox

    random = np.random.default_rng(0)
    for height, width in [(97, 211), (300, 200), (64, 64), (51, 50), (640, 513)]:
        image = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
        scale = 96 / max(height, width)
        theirs = LetterBox((96, 96), auto=not square, scaleup=True, stride=32)(image=scaled(image, min(scale, 1.0)))
        assert np.array_equal(letterbox(image, scale, square)[0], theirs)


def head(*boxes: tuple[float, ...]) -> np.ndarray:
    """A head's output for boxes (center x, center y, width, height, score of category 0, of category 1)."""
    return np.array(boxes, dtype=np.float32).T


def test_boxes_become_left_top_width_height_best_first() -> None:
    boxes, scores, categories = select_boxes(head((20, 30, 10, 20, 0.4, 0.1), (50, 50, 8, 8, 0.2, 0.9)), 0.3)
    assert boxes.tolist() == [[46, 46, 8, 8], [15, 20, 10, 20]]
    assert scores.tolist() == pytest.approx([0.9, 0.4])
    assert categories.tolist() == [1, 0]


def test_suppression_is_per_category() -> None:
    same = head((20, 20, 10, 10, 0.9, 0), (21, 20, 10, 10, 0.8, 0), (21, 20, 10, 10, 0, 0.7))
    _, scores, categories = select_boxes(same, 0.1)
    assert scores.tolist() == pytest.approx([0.9, 0.7])
    assert categories.tolist() == [0, 1]


def test_nothing_above_the_confidence() -> None:
    boxes, scores, categories = select_boxes(head((20, 20, 10, 10, 0.2, 0.1)), 0.5)
    assert boxes.shape == (0, 4)
    assert len(scores) == len(categories) == 0


def test_limit_keeps_the_best() -> None:
    output = head(*[(10 + 30 * i, 10, 8, 8, 0.1 + i / 100, 0) for i in range(50)])
    _, scores, _ = select_boxes(output, 0.05, limit=7)
    assert scores.tolist() == pytest.approx([0.59, 0.58, 0.57, 0.56, 0.55, 0.54, 0.53])


def test_suppression_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller may ask for every box with confidence=0, and suppression takes the square of their number."""
    monkeypatch.setattr(inference, "NMS_CANDIDATES", 5)
    output = head(*[(10 + 30 * i, 10, 8, 8, 0.1 + i / 100, 0) for i in range(50)])
    _, scores, _ = select_boxes(output, 0.0)
    assert scores.tolist() == pytest.approx([0.59, 0.58, 0.57, 0.56, 0.55])


def brute_force(boxes: np.ndarray, scores: np.ndarray, threshold: float) -> list[int]:
    """Greedy suppression, written out."""
    kept: list[int] = []
    for i in np.argsort(-scores, kind="stable"):
        overlaps = []
        for j in kept:
            w = min(boxes[i, 2], boxes[j, 2]) - max(boxes[i, 0], boxes[j, 0])
            h = min(boxes[i, 3], boxes[j, 3]) - max(boxes[i, 1], boxes[j, 1])
            overlap = max(w, 0) * max(h, 0)
            areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (boxes[i], boxes[j])]
            overlaps.append(overlap / (sum(areas) - overlap))
        if all(o <= threshold for o in overlaps):
            kept.append(int(i))
    return kept


def random_boxes(seed: int, count: int = 200) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    corners = random.uniform(0, 100, (count, 2))
    return np.hstack([corners, corners + random.uniform(5, 40, (count, 2))]), random.uniform(0, 1, count)


@pytest.mark.parametrize("seed", range(5))
def test_selection_is_greedy_suppression(seed: int) -> None:
    boxes, scores = random_boxes(seed)
    centers = np.hstack([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]])
    output = np.vstack([centers.T, scores]).astype(np.float32)
    _, kept, _ = select_boxes(output, 0.0, iou=0.5)
    assert kept.tolist() == pytest.approx(scores[brute_force(boxes, scores, 0.5)].tolist())


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("threshold", [0.3, 0.7])
def test_the_stand_in_for_torchvision_nms(seed: int, threshold: float) -> None:
    import torch
    from skyloop_container.ultralytics_setup import _nms

    boxes, scores = random_boxes(seed)
    kept = _nms(torch.tensor(boxes), torch.tensor(scores - 0.5), threshold)  # negative scores count too
    assert kept.dtype == torch.int64
    assert kept.tolist() == brute_force(boxes, scores, threshold)
    assert _nms(torch.zeros(0, 4), torch.zeros(0), threshold).tolist() == []


class FixedEngine:
    """An engine whose network says the same about every image: one box, and two pooled features."""

    def __init__(self) -> None:
        self.seen: list[np.ndarray] = []

    def run(self, images: np.ndarray, alone: bool = False) -> tuple[np.ndarray, np.ndarray]:
        self.seen.append(images)
        return head((32, 32, 20, 10, 0.1, 0.8))[None], np.array([[3.0, 5.0]], dtype=np.float32)


def test_the_detector_runs_with_any_engine() -> None:
    """What comes of the network is put into pixels of the image, named, and projected."""
    features = {"mean": [1.0, 1.0], "components": [[0.0, 1.0]]}
    card = {"categories": ["tree", "car"], "imgsz": 64, "confidence_default": 0.5, "features": features}
    engine = FixedEngine()
    detector = Detector(card | {"training_job": "t", "dataset_id": "d"}, engine)
    prediction = detector.predict(np.full((64, 128, 3), 255, dtype=np.uint8))  # fitted at half size, 16 px of border
    (blob,) = engine.seen
    assert blob.shape == (1, 3, 64, 64)
    assert (blob[0, 0, 0, 0], blob[0, 0, 32, 32]) == (pytest.approx(PAD / 255), 1.0)
    assert [detection.as_dict() for detection in prediction.detections] == [
        {"category": "car", "category_id": 1, "confidence": 0.8, "left": 44, "top": 22, "width": 40, "height": 20}
    ]
    assert prediction.features == [4.0]
    assert detector.predict(np.zeros((64, 128, 3), dtype=np.uint8), 0.9).detections == []
