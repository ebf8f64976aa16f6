"""From trained weights to what is served: model.onnx (detections and early-layer features), model.json, model.pt."""

import json
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from .card import write
from .dataset import Sample, spread, with_pictures
from .engine_choice import probe
from .environment import JobError, available_cores
from .inference import Detector
from .metrics import best_confidence
from .planning import FIT_IMAGES, choose_plan

FEATURE_LAYER = 4  # P3: early enough to see haze, blur and altitude, late enough to be small
FEATURE_COMPONENTS = 16
PACKAGES = ("torch", "ultralytics-opencv-headless", "onnx", "onnxruntime", "numpy")


class _Served(nn.Module):
    """The detector with a second output: mean and standard deviation of each channel of an early layer."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        detector: Any = model  # Ultralytics' DetectionModel, whose attributes have no types
        self.layers = detector.model
        self.save = set(detector.save)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(n, 3, h, w) in 0..1 -> (n, 4 + categories, anchors) and (n, 2 * channels)."""
        outputs: list[torch.Tensor | None] = []
        x: Any = image
        pooled = image
        for layer in self.layers:  # as Ultralytics' BaseModel._predict_once, with one layer kept
            if layer.f != -1:
                x = outputs[layer.f] if isinstance(layer.f, int) else [x if j == -1 else outputs[j] for j in layer.f]
            x = layer(x)
            outputs.append(x if layer.i in self.save else None)
            if layer.i == FEATURE_LAYER:
                mean = x.mean(dim=(2, 3))
                spread = (x - mean[..., None, None]).square().mean(dim=(2, 3)).sqrt()
                pooled = torch.cat([mean, spread], dim=1)
        return x, pooled


def export(
    weights: Path,
    model_dir: Path,
    card: dict[str, Any],
    train: list[Sample],
    validation: list[Sample],
    *,
    side_is_fixed: bool = False,
) -> dict[str, Any]:
    """Write model.pt, model.onnx and model.json.

    Args:
        weights: the checkpoint to serve.
        model_dir: normally /opt/ml/model.
        card: categories, imgsz, training_job, dataset_id, base, slicing, radiometric_window; completed here.
        train: the PCA of the features is fitted on these. A baseline must come from others, or drift alarms are false.
        validation: the slicing plan and the default confidence are chosen on these.
        side_is_fixed: the slicing plan keeps its side.

    Returns:
        The content of model.json.

    Raises:
        JobError: the outputs of the exported network differ from those of the trained one, or are no numbers.
    """
    from ultralytics.nn.tasks import load_checkpoint

    model_dir.mkdir(parents=True, exist_ok=True)
    model, _ = load_checkpoint(weights, device="cpu")
    model = model.float().fuse(verbose=False).eval()
    head = model.model[-1]
    head.export, head.format, head.dynamic = True, "onnx", True
    served = _Served(model).eval()
    example = torch.rand(2, 3, card["imgsz"], card["imgsz"], generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = [output.numpy().copy() for output in served(example)]
        torch.onnx.export(
            served,
            (example,),
            str(model_dir / "model.onnx"),
            input_names=["images"],
            output_names=["detections", "pooled"],
            # Slices come several at once, and pictures are no squares.
            dynamic_axes={
                "images": {0: "pictures", 2: "height", 3: "width"},
                "detections": {0: "pictures", 2: "anchors"},
                "pooled": {0: "pictures"},
            },
            opset_version=17,
            dynamo=False,  # the tracing exporter: the other one needs onnxscript and has no advantage here
        )
    card = card | {
        "confidence_default": 0.25,
        "versions": {package: version(package) for package in PACKAGES},
        "features": {"layer": FEATURE_LAYER, "mean": [], "components": []},
        "license": "AGPL-3.0",
    }
    write(model_dir, card)
    detector = Detector.load(model_dir, threads=1, pictures=available_cores())  # on each core one, as it is served
    _verify(detector, example.numpy(), expected)
    card["probe"] = probe(detector)
    plan, scored, measured = choose_plan(detector, train, validation, side_is_fixed)
    print(f"slicing={json.dumps(plan.as_card())}, confirmed", flush=True)
    card["slicing"], card["slicing_measured"] = plan.as_card(), measured
    card["confidence_default"] = best_confidence(scored, card["categories"])
    fitted_on = spread(train, FIT_IMAGES)
    pooled = with_pictures("train", fitted_on, detector.window, lambda _, image: detector.pooled(image, plan))[0]
    card["features"] |= fit_features(np.stack([one for _, one in pooled]))
    write(model_dir, card)
    shutil.copyfile(weights, model_dir / "model.pt")
    return card


def fit_features(pooled: np.ndarray) -> dict[str, list[Any]]:
    """Principal components of pooled features.

    Args:
        pooled: (images, features).

    Returns:
        {"mean": features floats, "components": up to 16 orthonormal rows of features floats, largest variance first};
        fewer rows where there are fewer images.
    """
    mean = pooled.mean(axis=0)
    _, singular, rows = np.linalg.svd(pooled - mean, full_matrices=False)
    count = min(FEATURE_COMPONENTS, int((singular > 1e-6).sum()))
    return {"mean": mean.round(6).tolist(), "components": rows[:count].round(6).tolist()}


def _verify(detector: Detector, example: np.ndarray, expected: list[np.ndarray]) -> None:
    """Compare the artifact with the trained network: the gate judges the artifact, and the endpoint serves it."""
    outputs = detector.engine.run(example)
    for name, ours, theirs in zip(("detections", "pooled"), outputs, expected, strict=True):
        # Boxes are in pixels, up to imgsz: relative where large, absolute where small.
        if ours.shape != theirs.shape or not np.allclose(ours, theirs, rtol=1e-3, atol=1e-3):
            worst = float(np.abs(ours - theirs).max()) if ours.shape == theirs.shape else float("nan")
            raise JobError(f"The exported model's {name} differ from the trained model's by up to {worst:.4g}.")
