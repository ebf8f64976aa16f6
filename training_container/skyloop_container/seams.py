"""What several views of one picture found becomes one list: every object once, whole where a view showed it whole."""

from collections.abc import Sequence

import cv2
import numpy as np

from .slicing import View

SAME_IOU = 0.55
"""Of two boxes of one category that overlap more than this one is kept, whether one view showed both or two."""

FRAGMENT = 0.7
"""A box that a seam has cut, and of which another box holds this share, is a part of that object."""

UNSURE = 1 / 3
"""A whole box that has less than this share of a cut one's score does not stand for it: it may be none."""

EDGE = 0.01
"""Share of a view's side: a box that ends so near to an edge inside the picture may be cut by it."""

CANDIDATES = 20_000
"""The most confident boxes of all views; suppression of so many takes a second or two."""

Found = tuple[View, np.ndarray, np.ndarray, np.ndarray]
"""A view; boxes (n, 4) left, top, right, bottom in pixels of the picture; scores (n,); category ids (n,)."""


def suppress(
    boxes: np.ndarray, scores: np.ndarray, categories: np.ndarray, iou: float = SAME_IOU, most: int = 0
) -> np.ndarray:
    """Which boxes to keep: of those of one category that overlap much, the one with the best score.

    Args:
        boxes: (n, 4) left, top, width, height.
        scores: (n,).
        categories: (n,) ids.
        iou: that is much.
        most: so many of the best scores are looked at; 0: all. It takes the square of their number.

    Returns:
        Their indices.
    """
    if not len(boxes):
        return np.zeros(0, dtype=int)
    # OpenCV's stub asks for sequences of floats; the function takes arrays, and faster.
    found = cv2.dnn.NMSBoxesBatched(boxes, scores, categories, 0.0, iou, top_k=most)  # type: ignore[arg-type]
    return np.array(found, dtype=int).reshape(-1)


def merge(
    found: Sequence[Found], width: int, height: int, confidence: float = 0.0, iou: float = SAME_IOU
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Merge what the views of a picture of `width` x `height` pixels found.

    A part may be more certain than its whole: boxes that a seam has cut come after whole ones of a third of their
    score. In this order, of boxes that are much the same the first is kept, and a cut box is dropped that lies in a
    whole one, or in a larger cut one, before it. So what becomes of a box depends on none of less than a third of its
    score: where `found` has all down to `confidence` x UNSURE, the answer is that of any lower confidence, less the
    boxes below.

    Args:
        found: by each view.
        width: of the picture, in pixels.
        height: likewise.
        confidence: boxes with less are not in the answer.
        iou: two boxes that overlap more are much the same.

    Returns:
        boxes (n, 4) left, top, right, bottom, clipped to the picture; scores (n,); category ids (n,); most confident
        first.
    """
    if not found:  # a coarse look has shown nothing
        return np.zeros((0, 4)), np.zeros(0), np.zeros(0, dtype=int)
    boxes = np.concatenate([boxes for _, boxes, _, _ in found]).clip(0, (width, height) * 2)
    scores = np.concatenate([scores for _, _, scores, _ in found]).astype(np.float64)
    categories = np.concatenate([categories for _, _, _, categories in found])
    cut = np.concatenate([_cut(boxes, view, width, height) for view, boxes, _, _ in found])
    kept = np.flatnonzero((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]))
    kept = kept[np.argsort(-scores[kept], kind="stable")][:CANDIDATES]
    order = scores * np.where(cut, UNSURE, 1.0)
    sizes = np.concatenate([boxes[kept, :2], boxes[kept, 2:] - boxes[kept, :2]], axis=1)
    kept = kept[suppress(sizes, order[kept], categories[kept], iou)]
    fragments = _fragments(boxes[kept], order[kept], categories[kept], cut[kept])
    kept = kept[~fragments & (scores[kept] >= confidence)]
    kept = kept[np.argsort(-scores[kept], kind="stable")]
    return boxes[kept], scores[kept], categories[kept]


def _cut(boxes: np.ndarray, view: View, width: int, height: int) -> np.ndarray:
    """Which boxes end at an edge of the view that is none of the picture's, (n,) bool."""
    near_x, near_y = EDGE * view.width, EDGE * view.height
    return (
        ((boxes[:, 0] <= view.left + near_x) & (view.left > 0))
        | ((boxes[:, 1] <= view.top + near_y) & (view.top > 0))
        | ((boxes[:, 2] >= view.right - near_x) & (view.right < width))
        | ((boxes[:, 3] >= view.bottom - near_y) & (view.bottom < height))
    )


def _fragments(boxes: np.ndarray, order: np.ndarray, categories: np.ndarray, cut: np.ndarray) -> np.ndarray:
    """Which boxes are cut and lie in a whole box of their category, or in a larger cut one, before them, (n,) bool."""
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    fragments = np.zeros(len(boxes), dtype=bool)
    for number in np.flatnonzero(cut):
        box = boxes[number]
        shared = np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2])
        inside = shared.clip(0).prod(axis=1) >= FRAGMENT * areas[number]
        before = (categories == categories[number]) & (order >= order[number])
        fragments[number] = (inside & before & (~cut | (areas > areas[number]))).any()
    return fragments
