"""The image statistics against their definitions."""

import math

import cv2
import numpy as np
import pytest
from skyloop_container import profile
from skyloop_container.profile import LONG_SIDE, STATISTICS, middle
from skyloop_container.scaling import averaged
from skyloop_container.slicing import SlicingPlan

PLAN = SlicingPlan(side=400)


def image_statistics(image: np.ndarray) -> dict[str, float]:
    """By their short names, of a picture that is seen whole and unscaled."""
    found = profile.image_statistics(image, SlicingPlan(), max(image.shape))
    return {name.removeprefix("slice_"): value for name, value in found.items()}


def picture(*rows: list[int]) -> np.ndarray:
    """A gray picture of the given pixel rows."""
    return np.repeat(np.array(rows, dtype=np.uint8)[..., None], 3, axis=2)


def test_order_and_names() -> None:
    assert tuple(profile.image_statistics(picture([0, 255]), PLAN, 640)) == STATISTICS


def test_a_flat_gray_image() -> None:
    values = image_statistics(np.full((40, 50, 3), 102, dtype=np.uint8))
    assert values["brightness"] == pytest.approx(102 / 255)
    assert values["contrast"] == 0
    assert values["sharpness"] == pytest.approx(math.log(1e-6))
    assert values["saturation"] == 0
    assert values["entropy"] == 0
    assert math.copysign(1, values["entropy"]) == 1
    assert values["p05"] == values["p95"] == pytest.approx(102 / 255)


def test_half_black_half_white() -> None:
    values = image_statistics(picture(*[[0] * 10 + [255] * 10] * 20))
    assert values["brightness"] == pytest.approx(0.5)
    assert values["contrast"] == pytest.approx(0.5)
    assert values["entropy"] == pytest.approx(1.0)
    assert (values["p05"], values["p95"]) == (0, 1)


def test_entropy_of_every_gray_is_eight_bits() -> None:
    values = image_statistics(np.arange(256, dtype=np.uint8).reshape(16, 16)[..., None].repeat(3, axis=2))
    assert values["entropy"] == pytest.approx(8.0)


def test_saturation_of_pure_colors() -> None:
    red = np.zeros((8, 8, 3), dtype=np.uint8)
    red[..., 0] = 255
    assert image_statistics(red)["saturation"] == 1
    red[:4] = 128  # half the image gray
    assert image_statistics(red)["saturation"] == pytest.approx(0.5)


def test_sharpness_is_the_log_variance_of_the_laplacian() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    image = noise[..., None].repeat(3, axis=2)
    padded = np.pad(noise.astype(float), 1, mode="reflect")  # OpenCV's default border
    laplacian = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:] - 4 * padded[1:-1, 1:-1]
    assert image_statistics(image)["sharpness"] == pytest.approx(math.log(laplacian.var() + 1e-6))
    blurred = cv2.GaussianBlur(image, (7, 7), 2)
    assert image_statistics(blurred)["sharpness"] < image_statistics(image)["sharpness"] - 1


def test_red_counts_less_than_green() -> None:
    """Channels are RGB, not OpenCV's BGR: luma weighs red 0.299 and blue 0.114."""
    red = np.zeros((4, 4, 3), dtype=np.uint8)
    red[..., 0] = 255
    assert image_statistics(red)["brightness"] == pytest.approx(0.299, abs=0.002)


@pytest.fixture(scope="module")
def ground() -> np.ndarray:
    """Soft shapes with some noise, 2400 x 2000 pixels."""
    random = np.random.default_rng(1)
    shapes = random.integers(0, 200, (2000 // 20, 2400 // 20, 3), dtype=np.uint8)
    large = cv2.resize(shapes, (2400, 2000), interpolation=cv2.INTER_CUBIC).astype(np.int16)
    noisy: np.ndarray = (large + random.integers(0, 40, large.shape)).clip(0, 255).astype(np.uint8)
    return noisy


def centered(ground: np.ndarray, width: int, height: int) -> np.ndarray:
    """A smaller frame of the same ground with the same middle."""
    left, top = (ground.shape[1] - width) // 2 // 8 * 8, (ground.shape[0] - height) // 2 // 8 * 8
    return ground[top : top + height, left : left + width]


@pytest.mark.parametrize("imgsz", [160, 320, 640])
@pytest.mark.parametrize("sides", [1, 2, 4, 5])
def test_the_same_ground_gives_the_same_numbers_in_any_frame(ground: np.ndarray, sides: int, imgsz: int) -> None:
    frame = centered(ground, 400 * sides, 400 * sides)
    assert profile.image_statistics(frame, PLAN, imgsz) == profile.image_statistics(ground, PLAN, imgsz)


@pytest.mark.parametrize("factor", [2, 4, 8])
@pytest.mark.parametrize(("plan", "imgsz"), [(SlicingPlan(), 320), (SlicingPlan(), 64), (SlicingPlan(side=2000), 160)])
def test_what_was_read_with_fewer_pixels_gives_the_same_numbers(
    ground: np.ndarray, plan: SlicingPlan, imgsz: int, factor: int
) -> None:
    divided = plan.factor(2400, 2000, imgsz) if factor == 8 else factor
    small = averaged(ground, 2 / 3 / divided)
    assert small.shape[1] == 2400 // divided
    small_ones = profile.image_statistics(small, plan, imgsz, (2400, 2000))
    assert small_ones == pytest.approx(profile.image_statistics(ground, plan, imgsz), abs=1e-9)


def test_a_model_without_slices_is_judged_by_what_its_network_sees(ground: np.ndarray) -> None:
    assert middle(ground, SlicingPlan(), 320).shape == (267, 320, 3)
    assert middle(ground[:1350], SlicingPlan(), 320).shape == (180, 320, 3)  # 1348 of the rows


@pytest.mark.parametrize(("side", "imgsz"), [(None, 1280), (2400, 1280), (320, 640), (10, 640), (1280, 1280)])
def test_no_picture_costs_more_than_so_many_pixels(ground: np.ndarray, side: int | None, imgsz: int) -> None:
    seen = middle(ground, SlicingPlan(side=side), imgsz)
    assert max(seen.shape) <= min(LONG_SIDE, side or LONG_SIDE)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (7, 300), (10, 10), (3, 2000), (15, 9)])
def test_small_and_thin_pictures_have_a_profile(width: int, height: int) -> None:
    for plan in (SlicingPlan(), PLAN):
        values = profile.image_statistics(np.full((height, width, 3), 51, dtype=np.uint8), plan, 640)
        assert values["slice_brightness"] == pytest.approx(0.2)
