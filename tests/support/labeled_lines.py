"""Lines of a labeling job's output."""

from __future__ import annotations

from typing import Any

JOB = "skyloop-dev-0123456789ab"


def labeled(line: dict[str, Any], *boxes: tuple[int, float, float, float, float], **metadata: Any) -> dict[str, Any]:
    names = ("class_id", "left", "top", "width", "height")
    annotations = [dict(zip(names, box, strict=True)) for box in boxes]
    return {
        **line,
        "boxes": {"image_size": [{"width": 64, "height": 48, "depth": 3}], "annotations": annotations},
        "boxes-metadata": {
            "objects": [{"confidence": 0.0}] * len(boxes),
            "class-map": {"0": "car", "7": "person"},
            "type": "groundtruth/object-detection",
            "human-annotated": "yes",
            "creation-date": "2026-11-23T12:00:00.000000",
            "job-name": f"labeling-job/{JOB}",
            **metadata,
        },
    }
