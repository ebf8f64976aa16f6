"""The image statistics against their definitions."""

import math

import cv2
import numpy as np
import pytest
from skyloop_container.profile import STATISTICS, image_statistics


def picture(*rows: list[int]) -> np.ndarray:
    """A gray picture of the given pixel rows."""
    return np.repeat(np.array(rows, dtype=np.uint8)[..., None], 3, axis=2)


def test_order_and_names() -> None:
    assert tuple(image_statistics(picture([0, 255]))) == STATISTICS


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


def test_a_large_image_costs_no_more_than_a_small_one() -> None:
    """The same scene at twice 640 px gives the numbers of the scene at 640 px."""
    small = cv2.GaussianBlur(np.random.default_rng(1).integers(0, 256, (480, 640, 3), dtype=np.uint8), (9, 9), 3)
    large = cv2.resize(small, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    ours, theirs = image_statistics(small), image_statistics(large)
    assert ours == pytest.approx(theirs, abs=1e-6)
