"""What people labeled on a picture, and what a model found there, as an evaluation keeps it for thousands of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import overload

import numpy as np

from .inference import Detection

SIDES = ("left", "top", "width", "height")


class Detections(Sequence[Detection]):
    """The detections of one picture, in their order; each is made when it is asked for.

    Arrays take a fifth of the memory: 42 bytes for each, where one object and its numbers have more than 200.

    Attributes:
        confidences: (n,).
    """

    __slots__ = ("_boxes", "_category", "_names", "confidences")

    def __init__(self, detections: Sequence[Detection]) -> None:
        """Keep detections."""
        self._names = sorted({(one.category_id, one.category) for one in detections})
        number_of = {kind: number for number, kind in enumerate(self._names)}
        self._category = np.array([number_of[one.category_id, one.category] for one in detections], dtype=np.int16)
        self.confidences = np.array([one.confidence for one in detections], dtype=float)
        boxes = [[getattr(one, side) for side in SIDES] for one in detections]
        self._boxes = np.array(boxes, dtype=float).reshape(-1, 4)

    def of(self, category: str) -> tuple[np.ndarray, np.ndarray]:
        """Boxes (n, 4) left, top, width, height in pixels, and confidences (n,), of one category, in their order."""
        wanted = [number for number, (_, name) in enumerate(self._names) if name == category]
        chosen = np.isin(self._category, wanted)
        return self._boxes[chosen], self.confidences[chosen]

    def __len__(self) -> int:
        return len(self._category)

    def __iter__(self) -> Iterator[Detection]:
        return map(self.__getitem__, range(len(self)))

    @overload
    def __getitem__(self, index: int) -> Detection: ...
    @overload
    def __getitem__(self, index: slice) -> list[Detection]: ...
    def __getitem__(self, index: int | slice) -> Detection | list[Detection]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        category_id, name = self._names[self._category[index]]
        left, top, width, height = self._boxes[index].tolist()
        return Detection(name, category_id, float(self.confidences[index]), left, top, width, height)


@dataclass(frozen=True, slots=True)
class Truth:
    """One labeled box, in pixels of the displayed image."""

    category: str
    left: float
    top: float
    width: float
    height: float

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, width and height."""
        return self.left, self.top, self.width, self.height


@dataclass(frozen=True, slots=True)
class ScoredImage:
    """One image: the boxes that people labeled on it, and those a model detected, most confident first.

    looks: what the network had to do for that, as `slicing.cost` gives it.
    matched: what `match_image` has found, by category: scores, intervals and the report ask for the same.
    """

    name: str
    width: int
    height: int
    truth: Sequence[Truth]
    detections: Detections
    flight: str = ""
    looks: float = 1.0
    matched: dict[str, tuple[np.ndarray, int]] = field(default_factory=dict, init=False, repr=False, compare=False)
