"""A small profile of an image, from which drift is judged without decoding the image again.

A few statistics of the picture, cheap enough to travel with every answer. All are taken from as much ground as one
slice shows, in the middle of the picture, at the scale at which the network looks at slices. So the same ground at the
same resolution gives the same numbers, however large the frame is: sharpness depends on the scale, and contrast,
entropy and the spread of all of them on how much ground is seen. A model without slices looks at pictures whole, and so
is judged.

Drift detection knows the statistics by their names. A name stands for one computation: one that is computed in another
way gets another name, because models in service keep the container that they were packaged with. `PROFILE_VERSION` is
that of the layout of an answer's profile and of baseline.json; a new statistic does not change it. (Without `slice_`
they were of the whole picture at 640 pixels.)
"""

import cv2
import numpy as np

from .scaling import factor_for, read_by, scaled
from .slicing import SlicingPlan

PROFILE_VERSION = 1
LONG_SIDE = 640  # pixels of the network's input that are looked at, at most
STATISTICS = (
    "slice_brightness",
    "slice_contrast",
    "slice_sharpness",
    "slice_saturation",
    "slice_entropy",
    "slice_p05",
    "slice_p95",
)


def image_statistics(
    image: np.ndarray, plan: SlicingPlan, imgsz: int, size: tuple[int, int] | None = None
) -> dict[str, float]:
    """Describe a picture in numbers, in the order of `STATISTICS`.

    Args:
        image: (rows, columns, 3) uint8 RGB.
        plan: how the model looks at it.
        imgsz: side of the network's input, in pixels.
        size: its width and height in its own pixels, where it was read with fewer, by `Detector.factor` or less.

    Returns:
        Of the middle of the picture: see `middle`.

        slice_brightness: mean gray / 255, in [0, 1]
        slice_contrast: standard deviation of gray / 255, in [0, 0.5]
        slice_sharpness: natural logarithm of the variance of the Laplacian of gray (+1e-6, so a flat image is finite)
        slice_saturation: mean S of HSV / 255, in [0, 1]
        slice_entropy: of the 256-bin gray histogram, in bits, in [0, 8]
        slice_p05, slice_p95: 5th and 95th percentile of gray / 255, in [0, 1]
    """
    image = middle(image, plan, imgsz, size)
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    histogram = cv2.calcHist([gray], [0], None, [256], [0, 256]).ravel().astype(np.float64)
    frequency = histogram / gray.size
    levels = np.arange(256)
    mean = frequency @ levels
    occupied = frequency[frequency > 0]
    _, edges = cv2.meanStdDev(cv2.Laplacian(gray, cv2.CV_16S))
    return {
        "slice_brightness": float(mean / 255),
        "slice_contrast": float(np.sqrt(frequency @ (levels - mean) ** 2) / 255),
        "slice_sharpness": float(np.log(edges[0, 0] ** 2 + 1e-6)),
        "slice_saturation": cv2.mean(cv2.cvtColor(image, cv2.COLOR_RGB2HSV))[1] / 255,
        "slice_entropy": float(-(occupied * np.log2(occupied)).sum() + 0.0),  # + 0.0: no negative zero for a flat image
        "slice_p05": _percentile(histogram, 0.05) / 255,
        "slice_p95": _percentile(histogram, 0.95) / 255,
    }


def middle(image: np.ndarray, plan: SlicingPlan, imgsz: int, size: tuple[int, int] | None = None) -> np.ndarray:
    """What the statistics are of: a slice's side of ground in the middle, at the scale of slices, (h, w, 3) uint8 RGB.

    Of a model without slices, the whole picture as the network sees it. At most LONG_SIDE of its pixels; never
    enlarged. Arguments as for `image_statistics`.
    """
    width, height = size or (image.shape[1], image.shape[0])
    factor = read_by(image, width, height)
    side = plan.side or max(width, height)
    scale = min(imgsz / side, 1.0)
    most = min(side, round(LONG_SIDE / scale))
    # Whole multiples of what is averaged, so that pixels are averaged the same way in any picture.
    unit = max(factor_for(scale), factor)
    rows, columns = _middle(height, most, unit), _middle(width, most, unit)
    part = image[rows.start // factor : rows.stop // factor, columns.start // factor : columns.stop // factor]
    return scaled(part, scale, (len(columns), len(rows)))


def _middle(length: int, most: int, unit: int) -> range:
    """Places along one side, in whole units where there are any."""
    side = max(min(length, most) // unit * unit, min(length, unit))
    start = (length - side) // 2 // unit * unit
    return range(start, start + side)


def _percentile(histogram: np.ndarray, share: float) -> float:
    """Of the values that a histogram counts, as `numpy.percentile` gives it, without sorting them."""
    place = share * (histogram.sum() - 1)
    low, high = np.searchsorted(histogram.cumsum(), [np.floor(place), np.ceil(place)], side="right")
    return float(low + (high - low) * (place % 1))
