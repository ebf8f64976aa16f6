"""Prepare the process for Ultralytics: quiet, offline, every core, and able to import torchvision.

All of this must happen before the first `import ultralytics`, which reads its environment once. So every other module
imports Ultralytics inside a function that runs after `prepare()`, or is itself imported there (`trainer`).
"""

import importlib
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

from .environment import available_cores


def _nms(boxes: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """A replacement for `torchvision.ops.nms`.

    Args:
        boxes: (n, 4) left, top, right, bottom in pixels.
        scores: (n,) confidences.
        iou_threshold: boxes that overlap a better one by more than this are dropped.

    Returns:
        Indices of the boxes kept, best first, int64, on the device of `boxes`.
    """
    if boxes.numel() == 0:
        return torch.zeros(0, dtype=torch.int64, device=boxes.device)
    corners = boxes.detach().float().cpu().numpy().astype(np.float64)
    corners[:, 2:] -= corners[:, :2]  # OpenCV wants left, top, width, height
    # OpenCV drops scores at or below its threshold and refuses a negative threshold; torchvision keeps every score.
    # Only the order matters, so pass ranks (n for the best, 1 for the worst).
    ranks = np.empty(len(corners), dtype=np.float32)
    ranks[np.argsort(-scores.detach().float().cpu().numpy(), kind="stable")] = np.arange(len(corners), 0, -1)
    # OpenCV's stub asks for sequences of floats; the function takes arrays, and faster.
    kept = cv2.dnn.NMSBoxes(corners, ranks, 0.0, iou_threshold)  # type: ignore[arg-type]
    return torch.as_tensor(np.asarray(kept, dtype=np.int64).reshape(-1), device=boxes.device)


_libraries: list[torch.library.Library] = []  # a Library that is garbage-collected takes its definitions with it


def import_torchvision() -> bool:
    """Import torchvision, and replace its native operators where they cannot be loaded.

    PyPI's Linux wheel of torchvision is built for CUDA. Beside a CPU-only torch its library does not load, `import
    torchvision` fails with "operator torchvision::nms does not exist", and Ultralytics cannot be used at all. The only
    operator that Ultralytics needs is NMS. So the schemas that torchvision's import looks for are declared, and
    `ops.nms` is replaced. Where the native operators work, nothing is changed.

    Returns:
        True if the native operators are in use, False if NMS is the replacement.

    Raises:
        ImportError: torchvision is not installed.
    """
    try:
        importlib.import_module("torchvision")
        return True
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _libraries.append(library)
    torchvision = importlib.import_module("torchvision")
    torchvision.ops.nms = torchvision.ops.boxes.nms = _nms
    return False


def prepare(scratch: Path, threads: int | None = None) -> None:
    """Make `import ultralytics` safe: no network, no pip, no files outside `scratch`, all cores.

    Args:
        scratch: a writable folder for Ultralytics' settings, fonts and caches.
        threads: of torch, OpenCV and Ultralytics; default every core that this process may use.
    """
    threads = threads or available_cores()
    scratch.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("YOLO_CONFIG_DIR", str(scratch))
    os.environ.setdefault("MPLCONFIGDIR", str(scratch))
    os.environ.setdefault("YOLO_OFFLINE", "true")  # no telemetry, no update check; base_model ends it for a download
    os.environ.setdefault("YOLO_AUTOINSTALL", "false")
    os.environ.setdefault("YOLO_VERBOSE", "false")
    # weights_only loading: a checkpoint is data, never code to run.
    os.environ.setdefault("ULTRALYTICS_SAFE_LOAD", "1")
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))  # Ultralytics sets 1 when it finds none
    import_torchvision()
    _place_font(Path(os.environ["YOLO_CONFIG_DIR"]) / "Ultralytics")

    import ultralytics.utils
    from ultralytics import settings
    from ultralytics.utils import patches, torch_utils

    # Ultralytics replaces Pillow's open() in the whole process. Its own asks for a plugin when a file is no image, and
    # raises ModuleNotFoundError: then a damaged image looks like a broken installation.
    Image.open = patches._image_open

    # Ultralytics trains with cpu_count - 1 threads: with one on two cores. select_device reads this name.
    ultralytics.utils.NUM_THREADS = torch_utils.NUM_THREADS = threads
    torch.set_num_threads(threads)
    settings.update({"sync": False, "mlflow": False, "tensorboard": False, "runs_dir": str(scratch / "runs")})


def _place_font(config_dir: Path) -> None:
    """Ultralytics downloads Arial when it checks a dataset, even when it draws nothing. Give it matplotlib's font."""
    import matplotlib

    font = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    config_dir.mkdir(parents=True, exist_ok=True)
    for name in ("Arial.ttf", "Arial.Unicode.ttf"):
        if not (config_dir / name).exists():
            shutil.copyfile(font, config_dir / name)
