"""The drift alarm over frames of one flight in many sizes: silent, and in the same run not for a real shift.

All of the way: files as a client sends them, the endpoint's answers, the judgment that the layer makes of them. The
network is one whose features are the means and the spreads of what it is shown.
"""

from collections.abc import Callable
from io import BytesIO

import cv2
import numpy as np
import pytest
from PIL import Image
from skyloop.drift.detector import detect
from skyloop.formats.profile import Baseline, Profile, profile_of
from skyloop_container.dataset import opened
from skyloop_container.inference import Detector
from skyloop_container.predictions import predict_image
from skyloop_container.profile import STATISTICS

SIDE = 53  # of a slice, pixels: a coarse look at it is one stride of the network, without a border
ALPHA = 0.01
SIZES = (1.0, 1.5, 2.0, 4.0, 8.0)  # of frames, in slices' sides
REFERENCE, WINDOW = 32, 16  # frames
DRAWS = 2
PLANS = {
    "slices and the whole": {"side": SIDE, "overlap": 0.2, "whole": True},
    "a coarse look": {"side": SIDE, "overlap": 0.2, "whole": False, "coarse": 0.2},
    "larger slices where there are many": {"side": SIDE, "overlap": 0.2, "whole": False, "most": 4},
}
SHIFTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "haze": lambda frame: (frame * 0.55 + 100).astype(np.uint8),
    "blur": lambda frame: cv2.GaussianBlur(frame, (0, 0), 1.5),
    "dark": lambda frame: (frame * 0.5).astype(np.uint8),
    "altitude": lambda frame: cv2.resize(frame, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA),
}


class Averaging:
    """An engine that sees nothing; its features are the mean and the spread of each color."""

    def run(self, images: np.ndarray, alone: bool = False) -> tuple[np.ndarray, np.ndarray]:
        features = np.concatenate([images.mean(axis=(2, 3)), images.std(axis=(2, 3))], axis=1)
        return np.zeros((len(images), 5, 1), dtype=np.float32), features


def detector(plan: dict[str, object]) -> Detector:
    features = {"mean": [0.0] * 6, "components": np.eye(6).tolist()}
    card = {"categories": ["car"], "imgsz": SIDE, "confidence_default": 0.5, "features": features, "slicing": plan}
    return Detector(card | {"training_job": "t", "dataset_id": "d"}, Averaging())


class Flight:
    """Ground with shapes of every size, and frames of it."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        length = 1600
        ground = np.full((length, length, 3), 110.0, dtype=np.float32)
        for shape in (4, 8, 16, 32):
            noise = self.random.normal(0, 14, (length // shape, length // shape, 3)).astype(np.float32)
            ground += cv2.resize(noise, (length, length), interpolation=cv2.INTER_CUBIC)
        self.ground = (ground + self.random.normal(0, 6, ground.shape)).clip(0, 255).astype(np.uint8)

    def frame(self, sides: float, stretch: float = 1.0) -> np.ndarray:
        """One at a place that chance has chosen; stretch: so much more of the ground on either side."""
        length = round(SIDE * sides * stretch)
        top, left = self.random.integers(0, len(self.ground) - length + 1, 2)
        return self.ground[top : top + length, left : left + length]


def profiles(model: Detector, frames: list[np.ndarray]) -> list[Profile]:
    found = []
    for frame in frames:
        body = BytesIO()
        Image.fromarray(frame).save(body, "PNG", compress_level=0)
        found.append(profile_of(predict_image(model, opened(body.getvalue()), None)))
    return found


def baseline(reference: list[Profile]) -> Baseline:
    return Baseline(
        profile_names=STATISTICS,
        profiles=[one.select(STATISTICS) for one in reference],
        features=[list(one.features) for one in reference],
        dataset_id="d",
        count=len(reference),
    )


@pytest.mark.parametrize("most", [4, 100])
@pytest.mark.parametrize("sides", [0.4, 0.5, 0.75, *SIZES])
def test_features_are_of_one_scale_without_a_border(sides: float, most: int) -> None:
    """Also of frames that are smaller than a slice, and of those whose slices are larger than the plan's."""
    seen = []

    class Keeping(Averaging):
        def run(self, images: np.ndarray, alone: bool = False) -> tuple[np.ndarray, np.ndarray]:
            seen.append(images.shape)
            return super().run(images)

    card = detector({"side": 556, "most": most, "whole": False}).card.model_copy(update={"imgsz": 320})
    model = Detector(card, Keeping())
    across, down = round(556 * sides), round(445 * sides)
    frame = np.full((down, across, 3), 200, dtype=np.uint8)
    assert model.predict(frame).features == pytest.approx([200 / 255] * 3 + [0.0] * 3, abs=1e-3)
    assert [round(side / 556 / 32 * 320 * 0.6 - 0.49) for side in (min(down, 556), min(across, 556))] == [
        side // 32 for side in seen[-1][2:]
    ]


@pytest.mark.parametrize("plan", PLANS)
def test_frames_of_the_same_flight_are_no_drift_in_any_size(plan: str) -> None:
    """And what has changed rings, in the same run: in the size that is known, and in another."""
    model = detector(PLANS[plan])
    for draw in range(DRAWS):
        flight = Flight(draw)
        reference = {sides: profiles(model, [flight.frame(sides) for _ in range(REFERENCE)]) for sides in SIZES}
        windows = {sides: profiles(model, [flight.frame(sides) for _ in range(WINDOW)]) for sides in SIZES}
        mixed = [one for sides in (1.0, 2.0, 4.0, 8.0) for one in reference[sides][: REFERENCE // 4]]
        baselines = {sides: baseline(rows) for sides, rows in reference.items()} | {0.0: baseline(mixed)}
        for known, judged in baselines.items():
            for sides, window in windows.items():
                judgment = detect(judged, window, alpha=ALPHA)
                assert judgment.decision == "OK", (draw, known, sides, judgment.reasons)
        for name, change in SHIFTS.items():
            for sides in (1.0, 2.0):
                stretch = 2.5 if name == "altitude" else 1.0
                frames = [change(flight.frame(sides, stretch)) for _ in range(WINDOW)]
                window = profiles(model, frames)
                for known, judged in baselines.items():
                    assert detect(judged, window, alpha=ALPHA).decision == "DRIFT", (draw, known, name, sides)
