"""Prepare the process for Ultralytics: quiet, offline, every core, and able to import torchvision.

Everything here has to happen before `import ultralytics`, which reads its environment once, at import. So this is the
only module that imports Ultralytics at first hand; the others call `prepare()` before they do.
"""

import importlib
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image


def _nms(boxes: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Stand in for `torchvision.ops.nms`.

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
    # OpenCV drops scores at or below its threshold and refuses a negative one; torchvision keeps every score. Only the
    # order matters, so hand over ranks (n for the best, 1 for the worst).
    ranks = np.empty(len(corners), dtype=np.float32)
    ranks[np.argsort(-scores.detach().float().cpu().numpy(), kind="stable")] = np.arange(len(corners), 0, -1)
    kept = cv2.dnn.NMSBoxes(corners, ranks, 0.0, iou_threshold)
    return torch.as_tensor(np.asarray(kept, dtype=np.int64).reshape(-1), device=boxes.device)


def import_torchvision() -> bool:
    """Import torchvision, standing in for its native operators where they cannot be loaded.

    PyPI's Linux wheel of torchvision is built for CUDA. Beside a CPU-only torch its library does not load, `import
    torchvision` fails with "operator torchvision::nms does not exist", and Ultralytics cannot be used at all. The only
    operator Ultralytics needs is NMS, so the schemas that torchvision's import looks for are declared and `ops.nms` is
    replaced. With working native operators nothing is touched.

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
    import_torchvision.library = library  # a Library takes its definitions with it when it is collected
    torchvision = importlib.import_module("torchvision")
    torchvision.ops.nms = torchvision.ops.boxes.nms = _nms
    return False


def prepare(scratch: Path, threads: int | None = None) -> None:
    """Make `import ultralytics` safe: no network, no pip, no files outside `scratch`, all cores.

    Args:
        scratch: a writable folder for Ultralytics' settings, fonts and caches.
        threads: threads of torch, OpenCV and Ultralytics; default every core this process may use.
    """
    threads = threads or available_cores()
    scratch.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("YOLO_CONFIG_DIR", str(scratch))
    os.environ.setdefault("MPLCONFIGDIR", str(scratch))
    os.environ.setdefault("YOLO_OFFLINE", "true")  # no telemetry, no update check; base_model lifts it for a download
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

    # Ultralytics replaces Pillow's open() for the whole process by one that, for what is no image, wants a plugin and
    # raises ModuleNotFoundError: a damaged image could not be told from a broken installation.
    Image.open = patches._image_open

    # Ultralytics trains with cpu_count - 1 threads: one of two. select_device reads this name.
    ultralytics.utils.NUM_THREADS = torch_utils.NUM_THREADS = threads
    torch.set_num_threads(threads)
    settings.update({"sync": False, "mlflow": False, "tensorboard": False, "runs_dir": str(scratch / "runs")})


def available_cores() -> int:
    """How many cores this process may run on: its affinity, not what the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _place_font(config_dir: Path) -> None:
    """Ultralytics downloads Arial when it checks a dataset, even when it draws nothing: give it matplotlib's font."""
    import matplotlib

    font = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    config_dir.mkdir(parents=True, exist_ok=True)
    for name in ("Arial.ttf", "Arial.Unicode.ttf"):
        if not (config_dir / name).exists():
            shutil.copyfile(font, config_dir / name)
