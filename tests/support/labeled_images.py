"""Labeled pictures for the tests of datasets."""

from __future__ import annotations

import hashlib
from typing import Any

from skyloop.dataset.labels import Box, LabeledImage


def labeled(flight: str, number: int, *categories: str, job: str = "job-1", **changes: Any) -> LabeledImage:
    """A picture of 64 × 48 pixels with one box for each category."""
    image_id = hashlib.sha256(f"{flight}/{number}".encode()).hexdigest()
    facts: dict[str, Any] = {
        "image_id": image_id,
        "key": f"labeled-data/images/{image_id}.jpg",
        "source_key": f"raw-images/{flight}/{number:05d}.jpg",
        "flight": flight,
        "job_name": job,
        "width": 64,
        "height": 48,
        "boxes": tuple(Box(category, 2.0 * place, 3, 12, 10 + number % 7) for place, category in enumerate(categories)),
        "labeled_at": "2026-11-23T12:00:00.000000+00:00",
    }
    return LabeledImage(**{**facts, **changes})


def flights(count: int, frames: int, *categories: str) -> list[LabeledImage]:
    """`count` flights of `frames` pictures each."""
    wanted = categories or ("person", "car")
    return [labeled(f"flight-{flight}", number, *wanted) for flight in range(count) for number in range(frames)]
