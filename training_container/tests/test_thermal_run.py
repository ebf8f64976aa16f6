"""Train and evaluate for real on pictures of a thermal camera, tiny, through the image's ENTRYPOINT."""

import json
from pathlib import Path

import numpy as np
import pytest
from skyloop.formats.pictures import RadiometricWindow
from skyloop_container.dataset import decode, opened
from skyloop_container.inference import Detector
from skyloop_container.predictions import predict_image
from skyloop_container.profile import STATISTICS, image_statistics
from skyloop_container.radiometry import as_card

from training_container.tests.pictures import to_counts, write_channel
from training_container.tests.test_container_run import lay_out, pack, run

pytestmark = pytest.mark.xdist_group("thermal run")


def trained(base: Path, **hyperparameters: str) -> Detector:
    """The model of a training of one epoch, in the folder `model` of base."""
    lay_out(base, epochs=1, **hyperparameters)
    for channel in ("train", "validation"):
        to_counts(base / "input" / "data" / channel)
    code, output = run("train", base, TRAINING_JOB_NAME="job-1")
    assert code == 0, output
    detector = Detector.load(base / "model", threads=1)
    assert f"radiometric_window={json.dumps(as_card(detector.window))}" in output
    return detector


def test_a_window_that_is_given_is_taken(tmp_path: Path) -> None:
    assert trained(tmp_path / "ml", radiometric_window="19000-22000").window == RadiometricWindow(19_000, 22_000)


def test_the_window_of_a_training_is_that_of_all_that_follows(tmp_path: Path) -> None:
    base = tmp_path / "ml"
    detector = trained(base)
    window = detector.window
    assert window is not None
    assert 19_900 < window.low < 20_050  # the pictures have grays of 20 to 60, and squares of 220
    assert 20_440 < window.high < 20_520

    inputs = tmp_path / "judged" / "processing" / "input"
    pack(base / "model", inputs / "candidate" / "model.tar.gz")
    card = json.loads((base / "model" / "model.json").read_text())
    (base / "model" / "model.json").write_text(json.dumps(card | {"radiometric_window": None}))
    pack(base / "model", inputs / "champion" / "model.tar.gz")  # as if trained before there were windows
    write_channel(inputs / "test", range(200, 204))
    write_channel(inputs / "reference", range(100, 103))
    to_counts(inputs / "test")
    to_counts(inputs / "reference")
    settings = {"SKYLOOP_CATEGORIES": '["square"]', "SKYLOOP_TEST_PREFIX": "s3://bucket/"}
    code, output = run("evaluate", tmp_path / "judged", **settings)
    assert code == 0, output
    documents = tmp_path / "judged" / "processing" / "output"
    evaluation = json.loads((documents / "evaluation.json").read_text())
    assert f"window: {window} and none." in evaluation["notes"][0]

    for known in json.loads((documents / "golden-predictions.json").read_text())["answers"]:
        body = (inputs / "test" / known["uri"].removeprefix("s3://bucket/")).read_bytes()
        assert predict_image(detector, opened(body), None)["detections"] == known["detections"]
    body = min((inputs / "reference" / "images").iterdir()).read_bytes()
    profile = json.loads((documents / "baseline.json").read_text())["profiles"][0]
    answered = predict_image(detector, opened(body), None)["profile"]
    assert profile == [answered[name] for name in STATISTICS]
    expected = image_statistics(decode(body, window), detector.plan, detector.size)
    assert answered["slice_contrast"] == pytest.approx(expected["slice_contrast"], abs=1e-6)
    assert len(np.unique(decode(body, window))) > 20
    assert len(np.unique(decode(body, None))) <= 3
