"""What slicing finds and costs: whole frames, ours, and SAHI with the same weights, engine and cores, in one run.

    python -m training_container.bench.slicing MODEL CHANNEL [CHANNEL …]

MODEL is a folder with model.json and model.onnx, a CHANNEL a folder of whole frames with labels (see the container's
README). SAHI must be installed beside: `pip install sahi`. The side and the overlap of its slices are the model's plan,
all else its defaults: it merges by GREEDYNMM, but of itself by NMS at confidences as low as a curve needs. Beside these
it is measured with either throughout. Precision and recall are of what is answered at the confidence of service. All
run one network at a time, on one thread.
"""

import argparse
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table
from skyloop_container.dataset import Sample, read_channel, read_image
from skyloop_container.detections import Detections, ScoredImage
from skyloop_container.inference import EVALUATION_CONFIDENCE, Detection, Detector, select_boxes
from skyloop_container.metrics import score
from skyloop_container.predictions import truth_of
from skyloop_container.slicing import SlicingPlan

Predict = Callable[[np.ndarray, float], tuple[list[Detection], float]]
"""From a picture and a confidence: what is found, and the looks that it took."""

VIEW_IOU = 0.7  # on each of SAHI's slices, as Ultralytics does for it
SAHI: dict[str, dict[str, Any]] = {
    "SAHI": {},
    "SAHI, NMS": {"postprocess_type": "NMS", "postprocess_match_metric": "IOU"},
    "SAHI, GREEDYNMM": {"postprocess_type": "GREEDYNMM", "force_postprocess_type": True},
}
SERVED = 0.25  # confidence at which times are taken: what a client gets, not what a curve needs


def sahi_with(detector: Detector, merging: dict[str, Any]) -> Predict:
    """SAHI's sliced prediction around a detector's network; merging: arguments that say how, none for its defaults."""
    from sahi.models.base import DetectionModel
    from sahi.predict import get_sliced_prediction
    from sahi.prediction import ObjectPrediction, PredictionScore
    from sahi.utils.compatibility import fix_full_shape_list, fix_shift_amount_list

    class Model(DetectionModel):
        """The detector as SAHI wants one."""

        def load_model(self) -> None:
            self.category_mapping = {str(number): name for number, name in enumerate(detector.categories)}

        looks = 0

        def perform_inference(self, image: np.ndarray) -> None:
            self.looks += 1
            ((_, fit, output, _),) = detector.run(image, detector.views(*image.shape[1::-1], SlicingPlan()))
            boxes, scores, categories = select_boxes(output, self.confidence_threshold, VIEW_IOU)
            boxes[:, 2:] += boxes[:, :2]
            boxes = fit.original(boxes.reshape(-1, 2, 2)).reshape(-1, 4)
            self._original_predictions = (boxes.clip(0, (image.shape[1], image.shape[0]) * 2), scores, categories)

        def _create_object_prediction_list_from_original_predictions(
            self, shift_amount_list: list[Any] | None = None, full_shape_list: list[Any] | None = None
        ) -> None:
            (shift,), (full,) = fix_shift_amount_list(shift_amount_list), fix_full_shape_list(full_shape_list)
            found = []
            for box, value, category in zip(*self._original_predictions, strict=True):
                if box[2] > box[0] and box[3] > box[1]:
                    one = ObjectPrediction(
                        bbox=box.tolist(),
                        category_id=int(category),
                        category_name=detector.categories[category],
                        shift_amount=shift,
                        full_shape=full,
                    )
                    one.score = PredictionScore(float(value))
                    found.append(one)
            self._object_prediction_list_per_image = [found]

    model = Model(confidence_threshold=EVALUATION_CONFIDENCE, device="cpu")

    def predict(image: np.ndarray, confidence: float) -> tuple[list[Detection], float]:
        model.confidence_threshold, model.looks = confidence, 0
        result = get_sliced_prediction(
            image,
            model,
            slice_height=detector.plan.side,
            slice_width=detector.plan.side,
            overlap_height_ratio=detector.plan.overlap,
            overlap_width_ratio=detector.plan.overlap,
            verbose=0,
            **merging,
        )
        found = [
            Detection(one.category.name, one.category.id, one.score.value, *one.bbox.to_xywh())
            for one in result.object_prediction_list
        ]
        return sorted(found, key=lambda detection: -detection.confidence), model.looks

    return predict


def measure(predict: Predict, samples: list[Sample], images: list[np.ndarray], names: list[str]) -> dict[str, Any]:
    """The scores of a way to predict, its looks a frame, and its median milliseconds at the confidence of service."""

    def scored(found: list[list[Detection]]) -> dict[str, Any]:
        shown = [
            ScoredImage(s.name, s.width, s.height, truth_of(s, names), Detections(one))
            for s, one in zip(samples, found, strict=True)
        ]
        return score(shown, names, SERVED)

    seen = [predict(image, EVALUATION_CONFIDENCE) for image in images]
    times, answers = [], []
    for image in images * 3:
        started = time.perf_counter()
        answers.append(predict(image, SERVED)[0])
        times.append(1000 * (time.perf_counter() - started))
    served = scored(answers[: len(images)])
    return scored([found for found, _ in seen]) | {
        "looks": float(np.mean([one for _, one in seen])),
        "precision": served["precision"],
        "recall": served["recall"],
        "milliseconds": float(np.median(times)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("channels", type=Path, nargs="+")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    detector = Detector.load(options.model, 1)
    if detector.plan.side is None:
        parser.exit(1, "this model's plan has no slices\n")

    def with_plan(plan: SlicingPlan) -> Predict:
        def predict(image: np.ndarray, confidence: float) -> tuple[list[Detection], float]:
            prediction = detector.predict(image, confidence, plan)
            return prediction.detections, prediction.looks

        return predict

    ways = {"whole frame": with_plan(SlicingPlan()), "ours": with_plan(detector.plan)}
    try:
        ways |= {way: sahi_with(detector, merging) for way, merging in SAHI.items()}
    except ImportError as error:
        print(f"without SAHI: {error}; pip install sahi")
    table = Table(
        title=f"{detector.plan}, network {detector.size} px, one thread; {platform.machine()}, {os.cpu_count()} cores"
    )
    for column in ("frames", "size", "way", "looks", "mAP50", "small", "precision", "recall", "ms a frame"):
        table.add_column(column)
    for channel in options.channels:
        samples, _ = read_channel(channel, len(detector.categories))
        images = [read_image(sample, detector.window) for sample in samples]
        for way, predict in ways.items():
            got = measure(predict, samples, images, detector.categories)
            shown = [got["map50"], got["by_size"]["small"]["map50"], got["precision"], got["recall"]]
            numbers = ["-" if value is None else f"{value:.3f}" for value in shown]
            table.add_row(
                str(len(samples)), f"{samples[0].width} x {samples[0].height}", way, f"{got['looks']:.1f}", *numbers,
                f"{got['milliseconds']:.0f}",
            )  # fmt: skip
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
