"""skyloop_container.scaling: a picture looks the same whether it was read whole, or with fewer pixels."""

from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from skyloop.formats.pictures import RadiometricWindow
from skyloop_container.dataset import Sample, decode, opened, read_frame, with_pictures
from skyloop_container.inference import Detector
from skyloop_container.predictions import predict_image, score_image
from skyloop_container.profile import image_statistics
from skyloop_container.scaling import MARGIN, averaged, factor_for, read_by, scaled
from skyloop_container.slicing import SlicingPlan

SIZES = [(1920, 1080), (1080, 1920), (4000, 3000), (640, 512), (999, 1500), (5472, 3648), (100, 6400), (3839, 3071)]
CARD = {
    "categories": ["car"], "imgsz": 320, "confidence_default": 0.5, "features": {"mean": [0.0], "components": []},
    "slicing": {}, "training_job": "t", "dataset_id": "d",
}  # fmt: skip


class Looking:
    """An engine that keeps what it is shown, and finds one box."""

    def __init__(self) -> None:
        self.seen: list[np.ndarray] = []

    def run(self, images: np.ndarray, alone: bool = False) -> tuple[np.ndarray, np.ndarray]:
        self.seen.append(images.copy())
        box = np.array([100, 60, 20, 10, 0.9], dtype=np.float32)[:, None]
        return np.stack([box] * len(images)), np.zeros((len(images), 1), dtype=np.float32)


def scene(width: int, height: int) -> np.ndarray:
    """Soft shapes with some noise, as a camera has them."""
    random = np.random.default_rng(width)
    coarse = random.integers(0, 256, (height // 20 + 2, width // 20 + 2, 3), dtype=np.uint8)
    image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(int)
    noise: np.ndarray = (image + random.integers(-6, 7, image.shape)).clip(0, 255).astype(np.uint8)
    return noise


def encoded(image: np.ndarray, kind: str, **options: int | bytes) -> bytes:
    body = BytesIO()
    Image.fromarray(image).save(body, kind, **options)
    return body.getvalue()


@pytest.mark.parametrize("side", [320, 640, 1280])
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_enough_pixels_are_left_and_each_has_its_place(width: int, height: int, side: int) -> None:
    factor = SlicingPlan().factor(width, height, side)
    assert factor == SlicingPlan().factor(height, width, side)  # it is asked before a picture is turned
    assert factor == 1 or max(width, height) / factor >= MARGIN * side
    twice = 2 * factor
    assert twice > 8 or max(width, height) / twice < MARGIN * side


def test_slices_need_every_pixel() -> None:
    plan = SlicingPlan(side=640)
    assert plan.factor(4000, 3000, 320) == 1
    assert plan.factor(800, 600, 320) == SlicingPlan().factor(800, 600, 320) == 1
    assert plan.factor(800, 800, 160) == SlicingPlan().factor(800, 800, 160) == 2  # hardly larger than a slice


def test_averaging_is_averaging() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    fewer = averaged(image, 1 / (MARGIN * 4))
    expected = image.reshape(16, 4, 24, 4, 3).mean(axis=(1, 3))
    assert fewer.shape == (16, 24, 3)
    assert np.abs(fewer - expected).max() <= 1.5  # each half is rounded
    assert averaged(image, 1.0) is image
    assert scaled(image, 1.0) is image


@pytest.mark.parametrize("side", [320, 640])
@pytest.mark.parametrize("longest", [1920, 3840, 4000, 5472, 8192])
def test_a_pixel_less_is_averaged_alike(longest: int, side: int) -> None:
    """Also at what cameras have: 1920 pixels are three times 640, half again of what is left by two."""
    assert len({factor_for(side / length) for length in range(longest - 8, longest + 1)}) == 1


@pytest.mark.parametrize(("width", "height"), [(101, 67), (96, 65), (103, 64), (1, 64), (97, 1)])
def test_odd_sides_are_averaged_with_what_there_is(width: int, height: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    fewer = averaged(image, 1 / (MARGIN * 4))
    repeated = np.pad(image.astype(float), ((0, -height % 4), (0, -width % 4), (0, 0)), mode="edge")
    expected = repeated.reshape(-(-height // 4), 4, -(-width // 4), 4, 3).mean(axis=(1, 3))
    assert np.abs(fewer - expected).max() <= 1.5
    assert read_by(fewer, width, height) == (4 if max(width, height) > 4 else 1)


@pytest.mark.parametrize("factor", [1, 2, 4, 8])
@pytest.mark.parametrize("less", range(9))
def test_every_pixel_keeps_its_place_at_odd_sides(less: int, factor: int) -> None:
    """A slope of gray across, and one down: each pixel's value says where it has come from."""
    width, height = 250 - less, 200 - less
    across, down = np.meshgrid(np.arange(width), np.arange(height))
    image = np.stack([across, down, down], axis=2).astype(np.uint8)
    scale = 1 / 13
    read = averaged(image, 1 / (MARGIN * factor))
    assert read.shape[:2] == (-(-height // factor), -(-width // factor))
    seen = scaled(read, scale, (width, height))
    assert seen.shape[:2] == (round(height * scale), round(width * scale))
    for axis, length in ((0, width), (1, height)):
        values = seen[..., axis].mean(axis=axis)
        places = (np.arange(len(values)) + 0.5) * length / len(values) - 0.5
        assert np.abs(values - places)[1:-1].max() < 1.6  # pixels, an eighth of the network's: each half is rounded


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP"])
@pytest.mark.parametrize(("width", "height"), [(1920, 1080), (1080, 1920), (4000, 3000), (3839, 2159), (4001, 2251)])
def test_the_network_sees_the_same(kind: str, width: int, height: int) -> None:
    """A frame that was read small, read whole, and cut for training: alike to a gray or two."""
    body = encoded(scene(width, height), kind)
    detector = Detector(CARD, engine := Looking())
    frame = read_frame(opened(body), None, detector.factor)
    assert frame.size == (width, height)
    factor = detector.factor(width, height)
    assert frame.pixels.shape == (-(-height // factor), -(-width // factor), 3)
    assert factor > 1
    small = detector.predict(frame.pixels, size=frame.size)
    whole = detector.predict(decode(body, None))
    assert small.detections == whole.detections
    one, other = (255 * images for images in engine.seen)
    assert np.abs(one - other).mean() < 1
    whole_pixels = decode(body, None)
    ours = image_statistics(frame.pixels, detector.plan, 320, frame.size)
    theirs = image_statistics(whole_pixels, detector.plan, 320)
    for name, value in ours.items():  # within what the drift's tables call measurement and not image
        coarse = name.endswith(("sharpness", "entropy"))
        assert value == pytest.approx(theirs[name], abs=0.02 if coarse else 0.005), name


def test_slices_are_the_same_whether_the_size_is_told_or_not() -> None:
    """A sliced picture is read whole; its size is told all the same."""
    detector = Detector(CARD | {"slicing": {"side": 300, "overlap": 0.2}}, engine := Looking())
    image = scene(1501, 1203)
    told = detector.predict(image, size=(1501, 1203))
    shown, engine.seen = engine.seen, []
    assert told == detector.predict(image)
    assert all(np.array_equal(one, other) for one, other in zip(shown, engine.seen, strict=True))


def test_answers_are_in_pixels_of_the_picture(tmp_path: Path) -> None:
    """Turned by EXIF too; the evaluation gets the same boxes as a caller."""
    turned = Image.Exif()
    turned[0x0112] = 6
    body = encoded(scene(1920, 1080), "JPEG", exif=turned.tobytes())
    detector = Detector(CARD, Looking())
    answer = predict_image(detector, opened(body), None)
    assert answer["image"] == {"width": 1080, "height": 1920}
    (box,) = answer["detections"]
    scale = 320 / 1920  # 180 x 320, padded to 192 x 320
    assert (box["left"], box["top"]) == (pytest.approx((90 - 6) / scale), pytest.approx(55 / scale))
    assert (box["width"], box["height"]) == (pytest.approx(20 / scale), pytest.approx(10 / scale))
    (tmp_path / "one.jpg").write_bytes(body)
    sample = Sample("one.jpg", tmp_path / "one.jpg", 1080, 1920, "", ())
    ((_, scored),), _ = with_pictures(
        "test", [sample], None, lambda one, image: score_image(detector, one, image, ["car"]), detector.factor
    )
    assert [found.as_dict() for found in scored.detections] == answer["detections"]


def test_a_wrong_size_is_told_in_pixels_of_the_picture(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.jpg").write_bytes(encoded(scene(1920, 1080), "JPEG"))
    samples = [Sample(f"{n}.jpg", tmp_path / f"{n}.jpg", 1920, 1080 + (n == "c"), "", ()) for n in "abc"]
    kept, dropped = with_pictures("test", samples, None, lambda _, image: image.shape, Detector(CARD, Looking()).factor)
    assert [shape for _, shape in kept] == [(270, 480, 3)] * 2
    assert [one.reason for one in dropped] == ["it is 1920 x 1080, its labels are for 1920 x 1081"]


def test_counts_are_seen_through_the_window_first() -> None:
    counts = np.tile(np.array([[20000, 20100]], dtype=np.uint16), (1024, 1024))
    body = BytesIO()
    Image.fromarray(counts).save(body, "PNG")
    frame = read_frame(opened(body.getvalue()), RadiometricWindow(20000, 20100), lambda *_: 2)
    assert frame.pixels.shape == (512, 1024, 3)
    assert np.unique(frame.pixels).tolist() == [128]


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_pictures_of_odd_sides_keep_their_places(orientation: int, kind: str) -> None:
    """What is left of a side is at the end of the upright picture, whichever end of the stored one that is."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    body = encoded(scene(1001, 803), kind, exif=exif.tobytes())
    whole, fewer = decode(body, None), read_frame(opened(body), None, lambda *_: 8)
    assert fewer.size == whole.shape[1::-1]
    expected = averaged(whole, 1 / (MARGIN * 8))
    assert fewer.pixels.shape == expected.shape
    differ = np.abs(fewer.pixels.astype(int) - expected)
    assert differ[:-1, :-1].mean() < 1
