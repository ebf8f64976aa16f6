"""The radiometric window: decided from training pictures, and the same pixels for training, evaluation and serving."""

import tracemalloc
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from skyloop.formats.pictures import RadiometricWindow
from skyloop_container import radiometry
from skyloop_container.dataset import Box, Sample, decode, opened, with_pictures
from skyloop_container.environment import JobError
from skyloop_container.hyperparameters import parse_hyperparameters
from skyloop_container.inference import Prediction
from skyloop_container.predictions import predict_image
from skyloop_container.profile import image_statistics
from skyloop_container.radiometry import LEAST, MARGIN, window_for
from skyloop_container.slicing import SlicingPlan, View
from skyloop_container.training_set import lay_out

from tests.support.pictures import sixteen_bit_files

WINDOW = RadiometricWindow(21_000, 21_600)
SIZE = (60, 80)  # height, width


def ground(seed: int, low: int = 21_000, high: int = 21_400) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, high + 1, SIZE, dtype=np.uint16)


def sample(folder: Path, name: str, content: np.ndarray | bytes, *boxes: Box) -> Sample:
    path = folder / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        cv2.imwrite(str(path), content)
    return Sample(name, path, SIZE[1], SIZE[0], "", boxes)


def test_the_window_holds_the_ground_and_a_margin(tmp_path: Path) -> None:
    window = window_for([sample(tmp_path, f"{seed}.png", ground(seed)) for seed in range(5)])
    assert window is not None
    assert abs(window.low - (21_000 - MARGIN * 400)) <= 3
    assert abs(window.high - (21_400 + MARGIN * 400)) <= 3


def test_objects_are_in_the_window_however_few_their_pixels(tmp_path: Path) -> None:
    """Four hot pixels and four cold ones of 48,000: less than a thousandth, which a window may leave out elsewhere."""
    pictures = [ground(seed) for seed in range(10)]
    pictures[3][10:12, 20:22], pictures[4][50:52, 70:72] = 22_500, 20_000
    bare = [sample(tmp_path, f"{number}.png", picture) for number, picture in enumerate(pictures)]
    labeled = list(bare)
    for number, box in ((3, (0, 20.0, 10.0, 2.0, 2.0)), (4, (0, 69.6, 49.6, 2.0, 2.0))):
        labeled[number] = sample(tmp_path, f"{number}.png", pictures[number], box)
    without, window = window_for(bare), window_for(labeled)
    assert without
    assert window
    assert without.low > 20_900
    assert without.high < 21_500
    assert window.low < 20_000
    assert window.high > 22_500


def test_what_stands_for_no_data_and_what_cannot_be_read_has_no_say(tmp_path: Path) -> None:
    border = ground(1)
    border[:20], border[20:30] = 0, 65_535
    samples = [
        sample(tmp_path, "border.png", border),
        sample(tmp_path, "eight.png", np.full(SIZE, 7, np.uint8)),
        sample(tmp_path, "color.png", np.full((*SIZE, 3), 60_000, np.uint16)),
        sample(tmp_path, "damaged.png", sixteen_bit_files(ground(2, 100, 900))["PNG"][:-60]),
        sample(tmp_path, "text.png", b"no picture"),
        Sample("gone.png", tmp_path / "gone.png", 80, 60, "", ()),
    ]
    window = window_for(samples)
    assert window is not None
    assert 20_900 < window.low < window.high < 21_500
    assert window_for(samples[1:]) is None
    assert window_for([]) is None


@pytest.mark.parametrize(("low", "high"), [(30_000, 30_010), (1, 2), (65_530, 65_534), (1, 65_534)])
def test_a_window_is_wide_enough_and_within_sixteen_bits(tmp_path: Path, low: int, high: int) -> None:
    window = window_for([sample(tmp_path, "one.png", ground(1, low, high))])
    assert window is not None
    assert window.high - window.low >= LEAST
    assert window.low <= low + (high - low) * 0.01
    assert window.high >= high - (high - low) * 0.01


def test_what_is_held_does_not_depend_on_how_many_pictures_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counts of 60 pictures, and of the boxes on them, would be 60 MB."""
    monkeypatch.setattr(radiometry, "available_cores", lambda: 2)
    samples = [sample(tmp_path, f"{seed}.png", ground(seed)) for seed in range(60)]
    tracemalloc.start()
    try:
        assert window_for(samples)
        assert tracemalloc.get_traced_memory()[1] < 12_000_000
    finally:
        tracemalloc.stop()


def test_a_window_can_be_given() -> None:
    given = {"categories": '["a"]'}
    assert parse_hyperparameters(given).radiometric_window == ""
    value = parse_hyperparameters(given | {"radiometric_window": "20000-24000"}).radiometric_window
    assert RadiometricWindow.from_text(value) == RadiometricWindow(20_000, 24_000)
    assert str(RadiometricWindow.from_text(value)) == value


@pytest.mark.parametrize("text", ["24000-20000", "5-5", "0-65536", "20000", "-", "a-b", "1-2-3", "20000 - 24000"])
def test_what_is_no_window_is_refused_at_once(text: str) -> None:
    with pytest.raises(JobError, match="radiometric_window"):
        parse_hyperparameters({"categories": '["a"]', "radiometric_window": text})


class Served:
    """What `predict_image` needs of a detector, and remembers what it was shown."""

    def __init__(self, window: RadiometricWindow | None) -> None:
        self.window, self.plan, self.size, self.confidence = window, SlicingPlan(), 80, 0.5
        self.card = SimpleNamespace(training_job="", dataset_id="")
        self.shown = np.zeros(0)

    def picture(self) -> AbstractContextManager[None]:
        return nullcontext()

    def views(self, width: int, height: int) -> list[View]:
        return SlicingPlan().views(width, height, self.size)

    def factor(self, width: int, height: int) -> int:
        return SlicingPlan().factor(width, height, self.size)

    def predict(self, image: np.ndarray, _: float | None, *, size: tuple[int, int]) -> Prediction:
        self.shown = image
        return Prediction([], [])


FILES = sixteen_bit_files(ground(7))


@pytest.mark.parametrize("body", FILES.values(), ids=FILES)
def test_a_file_is_the_same_pixels_in_training_evaluation_and_serving(tmp_path: Path, body: bytes) -> None:
    one = sample(tmp_path, "one.png" if body.startswith(b"\x89PNG") else "one.tif", body)
    expected = np.broadcast_to(WINDOW.table()[ground(7)][..., None], (*SIZE, 3))

    lay_out({"train": [one]}, ["a"], SlicingPlan(), 80, tmp_path / "out", tmp_path / "kept", window=WINDOW)
    [trained] = (tmp_path / "out" / "train" / "images").iterdir()
    assert np.array_equal(cv2.imread(str(trained)), expected)

    [(_, judged)], _ = with_pictures("test", [one], WINDOW, lambda _, picture: picture)
    assert np.array_equal(judged, expected)

    detector: Any = Served(WINDOW)
    answer = predict_image(detector, opened(body), None)
    assert np.array_equal(detector.shown, expected)
    for name, value in image_statistics(expected, SlicingPlan(), 80).items():  # drift is judged by the same pixels
        assert answer["profile"][name] == pytest.approx(value, abs=1e-6)


def test_kept_slices_are_those_of_the_window(tmp_path: Path) -> None:
    counts, color = sample(tmp_path, "counts.png", ground(3)), sample(tmp_path, "color.png", np.full(SIZE, 9, np.uint8))
    kept = tmp_path / "kept"
    for number, window in enumerate((WINDOW, RadiometricWindow(20_000, 24_000), WINDOW, None)):
        out = tmp_path / str(number)
        lay_out({"train": [color, counts]}, ["a"], SlicingPlan(), 80, out, kept, window=window)
        shown = [cv2.imread(str(path)) for path in sorted((out / "train" / "images").iterdir())]
        for picture, original in zip(shown, (color, counts), strict=True):
            assert np.array_equal(picture, decode(original.path.read_bytes(), window))
    assert len(list(kept.rglob("*.png"))) == 4  # the color once
