"""Train, evaluate and serve for real, tiny, through the image's ENTRYPOINT: what SageMaker does, and what it gets."""

import hashlib
import http.client
import json
import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
from skyloop_container.dataset import decode, opened
from skyloop_container.inference import Detector
from skyloop_container.predictions import predict_image
from skyloop_container.profile import PROFILE_VERSION, STATISTICS

from training_container.tests.jobs import TIMEOUT, lay_out, pack, run, serving_image, start
from training_container.tests.pictures import draw, without_boxes, write_channel

pytestmark = pytest.mark.xdist_group("container run")  # one worker: what one test trained, the others use


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A finished training job: its base folder and its output."""
    folder = tmp_path_factory.mktemp("trained")
    base = lay_out(folder / "ml", correlation_id="batch-9")
    before = sorted(path for path in (base / "input").rglob("*"))
    settings = {"MLFLOW_TRACKING_URI": f"file:{folder}/mlruns", "SKYLOOP_MAX_RUNTIME_SECONDS": "86400"}
    code, output = run("train", base, TRAINING_JOB_NAME="job-1", **settings)
    assert code == 0, output
    assert sorted(path for path in (base / "input").rglob("*")) == before  # nothing is left among the inputs
    left = {path.name for path in folder.iterdir() if path.name.startswith("skyloop-")}
    assert not left  # nor in the temporary folder (what torch keeps there is its own affair)
    return base, output


def test_the_serving_image_cannot_train(tmp_path: Path) -> None:
    """And what the other tests evaluate and serve, they do in it."""
    base = lay_out(tmp_path / "ml")
    assert run("train", base, **serving_image(tmp_path / "site"))[0] == 1
    assert "This image has no torch: it evaluates and serves." in (base / "output" / "failure").read_text()


def test_training_leaves_a_model(trained: tuple[Path, str]) -> None:
    base, output = trained
    assert sorted(path.name for path in (base / "model").iterdir()) == ["model.json", "model.onnx", "model.pt"]
    card = json.loads((base / "model" / "model.json").read_text())
    assert card["categories"] == ["square"]
    assert card["imgsz"] == 64
    assert (card["training_job"], card["dataset_id"], card["license"]) == ("job-1", "ds-1", "AGPL-3.0")
    assert card["base"]["kind"] == "scratch"
    assert card["epochs"] == {"trained": 2, "asked": 2, "stopped": None}
    assert 0 < card["confidence_default"] < 1
    assert card["features"]["layer"] == 4
    components = np.array(card["features"]["components"])
    assert components.shape == (11, len(card["features"]["mean"]))  # 12 images span 11 directions
    assert components @ components.T == pytest.approx(np.eye(11), abs=1e-4)
    assert "base=scratch" in output
    assert not (base / "output" / "failure").exists()


def test_a_training_with_few_labels_makes_no_int8(trained: tuple[Path, str]) -> None:
    assert re.search(r"^int8: none, for \d labeled boxes of validation pictures are too few", trained[1], re.MULTILINE)


def test_training_prints_its_metrics(trained: tuple[Path, str]) -> None:
    _, output = trained
    lines = re.findall(r"^epoch=(\d+) .*$", output, re.MULTILINE)
    assert lines == ["1", "2"]
    assert len(re.findall(r"map50=([0-9.]+)", output)) == len(re.findall(r"box_loss=([0-9.]+)", output)) == 2


def test_training_is_tracked(trained: tuple[Path, str]) -> None:
    base, output = trained
    assert "MLflow" not in output  # it complains under that name
    (run_folder,) = [path.parent for path in (base.parent / "mlruns").rglob("params")]
    assert (run_folder / "tags" / "correlation_id").read_text() == "batch-9"
    assert (run_folder / "tags" / "dataset_id").read_text() == "ds-1"
    assert (run_folder / "params" / "epochs").read_text() == "2"
    assert len((run_folder / "metrics" / "map50").read_text().splitlines()) == 2
    [run_id] = (base / "checkpoints").glob("run-*/mlflow-run-id")
    assert run_id.read_text() == run_folder.name


@pytest.fixture(scope="module")
def evaluated(trained: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished evaluation of the model against itself: its base folder."""
    base = tmp_path_factory.mktemp("evaluated") / "ml"
    inputs = base / "processing" / "input"
    pack(trained[0] / "model", inputs / "candidate" / "model.tar.gz")
    pack(trained[0] / "model", inputs / "champion" / "model.tar.gz")
    write_channel(inputs / "test", range(200, 208))
    write_channel(inputs / "reference", range(100, 104))
    code, output = run(
        "evaluate",
        base,
        SKYLOOP_CATEGORIES='["square"]',
        SKYLOOP_DATASET_ID="ds-1",
        SKYLOOP_TEST_SET_ID="test-1",
        SKYLOOP_TRAINING_JOB="job-1",
        SKYLOOP_TEST_PREFIX="s3://bucket/",
        **serving_image(base.parent / "site"),
    )
    assert code == 0, output
    return base


def test_evaluation_documents(evaluated: Path) -> None:
    output = evaluated / "processing" / "output"
    evaluation = json.loads((output / "evaluation.json").read_text())
    assert evaluation["images"] == 8
    assert evaluation["boxes"] == sum(len(draw(seed)[1]) for seed in range(200, 208))
    assert evaluation["candidate"] == evaluation["champion"]
    assert evaluation["candidate"]["per_class"]["square"]["boxes"] == evaluation["boxes"]
    assert evaluation["comparison"]["map50_difference"] == 0
    assert evaluation["comparison"]["resamples"] == 10_000
    assert evaluation["evaluator"].startswith("faster-coco-eval ")
    judged = evaluated / "processing" / "input" / "candidate" / "model.tar.gz"
    for digest, path in (("model_sha256", judged), ("golden_predictions_sha256", output / "golden-predictions.json")):
        assert evaluation[digest] == hashlib.sha256(path.read_bytes()).hexdigest()
    baseline = json.loads((output / "baseline.json").read_text())
    assert baseline["count"] == len(baseline["profiles"]) == len(baseline["features"]) == 4
    assert baseline["version"] == PROFILE_VERSION
    assert baseline["profile_names"] == list(STATISTICS)
    assert {len(row) for row in baseline["profiles"]} == {len(STATISTICS)}
    answers = json.loads((output / "golden-predictions.json").read_text())
    assert len(answers["answers"]) == 5
    assert all(re.fullmatch(r"s3://bucket/images/\w+\.png", a["uri"]) for a in answers["answers"])
    assert "mAP50" in (evaluated / "output" / "message").read_text()
    report = (output / "report.html").read_text()
    assert "<polyline" in report or "data:image/jpeg" in report
    assert "http" not in re.sub(r"data:image/jpeg;base64,[^']*", "", report)  # self-contained


def test_evaluation_failure_is_one_sentence(evaluated: Path, tmp_path: Path) -> None:
    inputs = tmp_path / "ml" / "processing" / "input"
    write_channel(inputs / "test", range(2))
    code, output = run("evaluate", tmp_path / "ml", SKYLOOP_CATEGORIES='["square"]')
    assert code == 1
    assert (tmp_path / "ml" / "output" / "message").read_text() == "The input 'candidate' is missing or empty."
    assert "Traceback" not in output


def test_warm_start_with_a_new_category(trained: tuple[Path, str], tmp_path: Path) -> None:
    base = lay_out(tmp_path / "ml", epochs=1, categories=["square", "disc"], weights="yolo11n.pt")
    pack(trained[0] / "model", base / "input" / "data" / "model" / "model.tar.gz")
    code, output = run("train", base, TRAINING_JOB_NAME="job-2")
    assert code == 0, output
    card = json.loads((base / "model" / "model.json").read_text())
    assert card["base"] == {"kind": "champion", "detail": "job-1 (dataset ds-1)"}
    assert card["categories"] == ["square", "disc"]
    assert "optimizer=AdamW lr0=0.000417" in output  # a quarter of what Ultralytics would choose for two categories


def test_large_frames_are_looked_at_in_slices_by_training_evaluation_and_endpoint(tmp_path: Path) -> None:
    base = tmp_path / "ml"
    write_channel(base / "input" / "data" / "train", range(6), tiles=5)
    write_channel(base / "input" / "data" / "validation", range(100, 102), tiles=5)
    config = base / "input" / "config" / "hyperparameters.json"
    config.parent.mkdir(parents=True)
    values = {
        "categories": '["square"]',
        "epochs": "1",
        "imgsz": "64",
        "batch": "8",
        "max_slices": "60",
        "weights": "scratch",
    }
    config.write_text(json.dumps(values))
    code, output = run("train", base, TRAINING_JOB_NAME="job-3")
    assert code == 0, output
    views = re.search(r"^views: train=(\d+) val=(\d+)", output, re.MULTILINE)
    assert views
    assert int(views[1]) > 6 * 25
    card = json.loads((base / "model" / "model.json").read_text())
    side = card["slicing_measured"][0]["side"]
    assert 32 <= side <= 64  # squares of 10 to 15 pixels shall be 16
    assert [plan["side"] for plan in card["slicing_measured"]] == [side, side, round(1.5 * side), None]
    assert card["slicing"].keys() == {"side", "overlap", "whole", "most", "coarse"}

    # Whatever was chosen after one epoch: what is looked at here are slices.
    card["slicing"] = {"side": 64, "overlap": 0.25, "whole": True, "most": 100}
    card["confidence_default"] = 0.001  # so that there is something to compare
    (base / "model" / "model.json").write_text(json.dumps(card))
    inputs = tmp_path / "judged" / "processing" / "input"
    pack(base / "model", inputs / "candidate" / "model.tar.gz")
    write_channel(inputs / "test", range(200, 203), tiles=5)
    write_channel(inputs / "reference", range(100, 102), tiles=5)
    settings = {
        "SKYLOOP_CATEGORIES": '["square"]',
        "SKYLOOP_TEST_PREFIX": "s3://bucket/",
        "SKYLOOP_ENGINE": "onnxruntime",
    }
    code, output = run("evaluate", tmp_path / "judged", **settings)
    assert code == 0, output
    documents = tmp_path / "judged" / "processing" / "output"
    evaluation = json.loads((documents / "evaluation.json").read_text())
    assert evaluation["slicing"]["side"] == 64
    assert evaluation["slicing"]["cost"] > 25
    assert "slices and once as a whole" in (documents / "report.html").read_text()
    detector = Detector.load(base / "model", threads=1)
    for known in json.loads((documents / "golden-predictions.json").read_text())["answers"]:
        body = (inputs / "test" / known["uri"].removeprefix("s3://bucket/")).read_bytes()
        answer = predict_image(detector, opened(body), None)
        assert answer["detections"] == known["detections"] != []
        assert answer["image"] == {"width": 320, "height": 320}
    image = decode(body, None)
    found, _ = detector.look(image, detector.views(320, 320), 0.003)
    assert len(found) == 5
    for view, boxes, _, _ in found:  # in pixels of the frame
        centers = (boxes[:, :2] + boxes[:, 2:]) / 2
        assert ((centers >= (view.left - 8, view.top - 8)) & (centers <= (view.right + 8, view.bottom + 8))).all()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"train": range(0)}, "The channel 'train' holds no labels"),
        ({"epochs": "soon"}, "'epochs'"),
        ({"learning_rate": "0.1"}, "'learning_rate'"),
    ],
)
def test_a_training_failure_is_one_sentence(change: dict, reason: str, tmp_path: Path) -> None:
    base = lay_out(tmp_path / "ml", **change)
    code, output = run("train", base)
    assert code == 1
    failure = (base / "output" / "failure").read_text()
    assert reason in failure
    assert "\n" not in failure
    assert "Traceback" not in output


def test_training_without_a_single_box_is_refused(tmp_path: Path) -> None:
    base = lay_out(tmp_path / "ml")
    without_boxes(base / "input" / "data" / "train" / "labels.jsonl")
    assert run("train", base)[0] == 1
    assert "None of the 12 training images has a box" in (base / "output" / "failure").read_text()


def test_training_on_boxes_that_nobody_can_see_is_refused(tmp_path: Path) -> None:
    base = lay_out(tmp_path / "ml")
    train = base / "input" / "data" / "train"
    first, *_ = (train / "labels.jsonl").read_text().splitlines()
    without_boxes(train / "labels.jsonl")
    (train / "labels.jsonl").write_text("\n".join([first, *(train / "labels.jsonl").read_text().splitlines()[1:]]))
    (train / json.loads(first)["image"]).write_bytes(b"no picture")
    assert run("train", base)[0] == 1
    assert "No training image that has a box can be read: " in (base / "output" / "failure").read_text()


@contextmanager
def served(base: Path, **values: str) -> Iterator[tuple[int, list[str]]]:
    """An endpoint: its port on the loopback interface, and what it said, once it ended by SIGTERM: it must end well."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    said: list[str] = []
    values |= {"SAGEMAKER_BIND_TO_PORT": str(port), "SKYLOOP_BIND_HOST": "127.0.0.1"}
    process = start("serve", base, **values, **serving_image(base.parent / "site"))
    deadline = time.monotonic() + TIMEOUT
    try:
        while True:
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline, "the endpoint does not answer"
            try:
                if request(port, "GET", "/ping")[0] == 200:
                    break
            except OSError:
                continue
        yield port, said
        process.terminate()
        said += process.communicate(timeout=TIMEOUT)[0].splitlines()
        assert process.returncode in (0, -signal.SIGTERM, 143)
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def endpoint(trained: tuple[Path, str]) -> Iterator[int]:
    """The port of a served model."""
    with served(trained[0]) as (port, _):
        yield port


def request(port: int, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read() or b"{}")


def test_the_endpoint_says_its_pace_for_a_metric(trained: tuple[Path, str]) -> None:
    body = next((trained[0] / "input" / "data" / "train").rglob("*.png")).read_bytes()
    with served(trained[0], SKYLOOP_ENDPOINT_CONFIG="config-1") as (port, said):
        assert request(port, "POST", "/invocations", body)[0] == 200
    [line] = [json.loads(line) for line in said if "look_ms" in line]
    assert line.keys() == {"look_ms", "endpoint_config"}
    assert line["look_ms"] > 0
    assert line["endpoint_config"] == "config-1"


def test_the_endpoint_answers_as_evaluated(endpoint: int, evaluated: Path) -> None:
    """The golden predictions over HTTP, and an image's profile."""
    answers = json.loads((evaluated / "processing" / "output" / "golden-predictions.json").read_text())["answers"]
    for known in answers:
        name = known["uri"].removeprefix("s3://bucket/")
        body = (evaluated / "processing" / "input" / "test" / name).read_bytes()
        status, answer = request(endpoint, "POST", "/invocations", body, Content_Type="image/png")
        assert status == 200
        assert answer["detections"] == known["detections"]
        assert answer["image"] == {"width": 64, "height": 64}
        assert answer["model"] == {"training_job": "job-1", "dataset_id": "ds-1"}
        assert answer["profile"].keys() == {"version", *STATISTICS, "features"}
        assert answer["profile"]["version"] == PROFILE_VERSION
        assert len(answer["profile"]["features"]) == 11
    everything = request(
        endpoint,
        "POST",
        "/invocations",
        body,
        Content_Type="image/*",
        X_Amzn_SageMaker_Custom_Attributes="trace=7, confidence=0.0",
    )[1]["detections"]
    assert len(everything) >= len(answer["detections"])
    assert {"category", "category_id", "confidence", "left", "top", "width", "height"} == set(everything[0])
    assert all(d["left"] >= 0 and d["left"] + d["width"] <= 64.01 for d in everything)


def test_the_endpoint_detects_what_the_model_detects(trained: tuple[Path, str], endpoint: int) -> None:
    """At nearly no confidence: a network of two epochs is sure of nothing, and two empty lists are always equal."""
    body = cv2.imencode(".png", draw(3)[0])[1].tobytes()
    attributes = {"Content_Type": "image/png", "X_Amzn_SageMaker_Custom_Attributes": "confidence=0.001"}
    served = request(endpoint, "POST", "/invocations", body, **attributes)[1]["detections"]
    expected = predict_image(Detector.load(trained[0] / "model", threads=1), opened(body), 0.001)["detections"]
    assert served
    for numbers in ("confidence", "left", "top", "width", "height"):
        listed = [sorted(detection[numbers] for detection in found) for found in (served, expected)]
        assert listed[0] == pytest.approx(listed[1], abs=1e-2), numbers


def test_the_endpoint_says_what_is_wrong(endpoint: int) -> None:
    good = cv2.imencode(".jpg", draw(1)[0])[1].tobytes()
    cases = [
        (b"", {}, "empty"),
        (b"hello", {}, "not-an-image"),
        (good[: len(good) // 2], {}, "truncated"),
        (good, {"X_Amzn_SageMaker_Custom_Attributes": "confidence=high"}, "not a number"),
        (good, {"X_Amzn_SageMaker_Custom_Attributes": "confidence=0_1"}, "not a number"),
        (good, {"X_Amzn_SageMaker_Custom_Attributes": "confidence=7"}, "0..1"),
        (good, {"X_Amzn_SageMaker_Custom_Attributes": "confidence=nan"}, "0..1"),
        (b"\0" * (25 * 1024 * 1024 + 1), {}, "larger than 25 MB"),
    ]
    for body, headers, reason in cases:
        status, answer = request(endpoint, "POST", "/invocations", body, **headers)
        assert status == (413 if len(body) > 25 * 1024 * 1024 else 400)
        assert reason in answer["error"]
    for kind in ("application/x-image", "binary/octet-stream", "text/plain", "image/png"):  # the bytes decide
        assert request(endpoint, "POST", "/invocations", good, Content_Type=kind)[0] == 200


def test_serving_without_a_model_ends_with_a_reason(tmp_path: Path) -> None:
    code, output = run("serve", tmp_path / "ml", SKYLOOP_BIND_HOST="127.0.0.1", SAGEMAKER_BIND_TO_PORT="1")
    assert code == 1
    assert "cannot be loaded" in output
    assert "Traceback" not in output
