"""The model card: what was ever written is read, and what is damaged is one sentence before anything is served."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skyloop.formats.pictures import RadiometricWindow
from skyloop_container.card import Card, read, write
from skyloop_container.engine_choice import EngineDiffers, verify
from skyloop_container.engines import REFERENCE
from skyloop_container.environment import JobError
from skyloop_container.inference import Detector
from skyloop_container.slicing import SlicingPlan

FIRST: dict[str, Any] = {
    "categories": ["car", "person"], "imgsz": 320, "training_job": "job", "dataset_id": "ds", "correlation_id": "",
    "base": {"kind": "scratch", "detail": "at random"}, "confidence_default": 0.34, "versions": {"torch": "2"},
    "features": {"layer": 4, "mean": [0.5, -2.0], "components": [[0.6, 0.8]]}, "license": "AGPL-3.0",
}  # fmt: skip
"""As trainings wrote it before there were slices."""
PROBE = {"detections": [1.0] * 6, "pooled": [0.5, 0.5]}
PLAN = {"side": 556, "overlap": 0.15, "whole": False, "most": 100, "coarse": 0.19}
SLICED = FIRST | {"slicing": {"side": 556, "overlap": 0.15, "whole": False}, "slicing_measured": []}
NOW = FIRST | {
    "slicing": PLAN, "radiometric_window": {"low": 20_000, "high": 24_000}, "probe": PROBE,
    "int8": {"probe": PROBE, "sha256": {"model-int8.xml": "00", "model-int8.bin": "11"}, "inputs": 64},
}  # fmt: skip
NAN, INFINITE = float("nan"), float("inf")


class Network:
    """An engine of two categories and two features."""

    def run(self, images: np.ndarray, alone: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """See `Engine`. A network of before slices takes squares of its size alone."""
        self.shape = images.shape
        return np.ones((len(images), 6, 1), np.float32), np.full((len(images), 2), 0.5, np.float32)


@pytest.mark.parametrize(
    "content", [FIRST, SLICED, NOW, NOW | {"radiometric_window": None}, NOW | {"behavior": "slow"}]
)
def test_what_was_ever_written_is_read(tmp_path: Path, content: dict[str, Any]) -> None:
    write(tmp_path, content)
    assert json.loads((tmp_path / "model.json").read_text()) == content
    verify(Detector(read(tmp_path), network := Network()), REFERENCE)
    assert network.shape == (1, 3, 320, 320)


def test_what_a_card_of_before_lacks() -> None:
    card = Card.model_validate(FIRST)
    assert (card.plan, card.from_before_slicing, card.window) == (SlicingPlan(), True, None)
    card = Card.model_validate(SLICED)
    assert (card.plan, card.from_before_slicing) == (SlicingPlan(556, 0.15, whole=False), False)
    card = Card.model_validate(NOW)
    assert card.plan == SlicingPlan(556, 0.15, whole=False, most=100, coarse=0.19)
    assert card.plan.as_card() == PLAN
    assert card.window == RadiometricWindow(20_000, 24_000)


DAMAGED: list[tuple[str, Any]] = [
    *[("categories", value) for value in (None, [], "car", ["car", 5], [""])],
    *[("imgsz", value) for value in (None, 0, -320, "320", 320.0, 32_000, True)],
    *[("confidence_default", value) for value in (None, "0.3", NAN, 2, -0.1, True)],
    ("training_job", None), ("dataset_id", 5), ("versions", []),
    ("features", None), ("features", {"mean": [0.0]}),
    *[("features", {"mean": mean, "components": []}) for mean in (None, [NAN], ["0"], [1e300])],
    *[("features", {"mean": [0.0, 0.0], "components": rows}) for rows in ([[1.0]], [[NAN, 0.0]], [[1e30, 0.0]], [1.0])],
    *[("slicing", value) for value in (None, [], "x", {"sides": 5}, PLAN | {"whole": "false"})],
    *[("slicing", PLAN | {"side": value}) for value in (0, -1, 0.5, 556.5, INFINITE, NAN, "556", True)],
    *[("slicing", PLAN | {"overlap": value}) for value in (1.0, -0.1, NAN, None)],
    *[("slicing", PLAN | {"most": value}) for value in (0, 0.01, 10**9, None)],
    *[("slicing", PLAN | {"coarse": value}) for value in (0, 1, NAN, "x")],
    *[("radiometric_window", value) for value in ([], {}, "1-2", {"low": 9, "high": 3}, {"low": 1.0, "high": 3.0})],
    *[("probe", value) for value in ({}, [], "x", PROBE | {"detections": [NAN] * 6}, PROBE | {"pooled": None})],
    *[("int8", value) for value in ({}, [], {"probe": PROBE}, {"sha256": {}})],
]  # fmt: skip


@pytest.mark.parametrize(("member", "value"), DAMAGED)
def test_a_damaged_card_is_one_sentence(tmp_path: Path, member: str, value: Any) -> None:
    (tmp_path / "model.json").write_text(json.dumps(NOW | {member: value}))
    with pytest.raises(JobError, match=rf"^The model in .* cannot be loaded: model\.json: '{member}.*\.$"):
        Detector.load(tmp_path, 1)
    with pytest.raises(JobError, match=r"^The training made no usable model: model\.json: "):
        write(tmp_path, NOW | {member: value})


@pytest.mark.parametrize(
    "member", ["categories", "imgsz", "training_job", "dataset_id", "confidence_default", "features"]
)
def test_what_every_training_wrote_is_needed(tmp_path: Path, member: str) -> None:
    (tmp_path / "model.json").write_text(json.dumps({name: value for name, value in NOW.items() if name != member}))
    with pytest.raises(JobError, match=f"'{member}' Field required"):
        read(tmp_path)


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_card_is_one_sentence(tmp_path: Path, body: bytes) -> None:
    with pytest.raises(JobError, match=r"cannot be loaded: .*No such file"):
        read(tmp_path)
    (tmp_path / "model.json").write_bytes(body)
    with pytest.raises(JobError, match=r"cannot be loaded: .*\.$"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("member", "value", "why"),
    [
        ("categories", ["car"], "tells 2 categories apart, and model.json names 1"),
        ("categories", ["car", "person", "dog"], "tells 2 categories apart, and model.json names 3"),
        ("features", {"mean": [0.0] * 3, "components": [[0.0] * 3]}, "gives 2 features, and model.json projects 3"),
    ],
)
@pytest.mark.parametrize("content", [FIRST, NOW])
def test_a_card_of_another_network_is_found(content: dict[str, Any], member: str, value: Any, why: str) -> None:
    with pytest.raises(EngineDiffers, match=why):
        verify(Detector(content | {member: value}, Network()), REFERENCE)
