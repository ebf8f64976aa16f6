"""What the evaluation does with categories, baselines, golden predictions and empty inputs: with stub models."""

import hashlib
import json
import shutil
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from skyloop.formats.evaluation import Evaluation
from skyloop.formats.pictures import RadiometricWindow, open_picture
from skyloop_container import dataset, evaluate
from skyloop_container.dataset import decode
from skyloop_container.engine_choice import Choice, EngineDiffers
from skyloop_container.engines import EngineMissing
from skyloop_container.environment import Environment, JobError
from skyloop_container.evaluate import Settings
from skyloop_container.inference import Detection, Prediction
from skyloop_container.profile import PROFILE_VERSION, STATISTICS, image_statistics
from skyloop_container.slicing import SlicingPlan, View

from training_container.tests.pictures import draw, to_counts, without_boxes, write_channel

SPLITS = ("reference", "test")
SETTINGS = {
    "SKYLOOP_CATEGORIES": '["square", "disc"]',
    "SKYLOOP_DATASET_ID": "ds-1",
    "SKYLOOP_TEST_SET_ID": "test-1",
    "SKYLOOP_TRAINING_JOB": "job-1",
    "SKYLOOP_TEST_PREFIX": "s3://bucket",
}


class Stub:
    """A model that finds the bright squares of `pictures.draw`, calling them `says`."""

    def __init__(self, categories: list[str], says: str, confidence: float = 0.5) -> None:
        self.categories, self.says, self.confidence = categories, says, confidence
        self.plan, self.size, self.window = SlicingPlan(), 64, None
        self.card = SimpleNamespace(training_job=f"job of {says}", dataset_id="ds", versions={"torch": "1"})

    picture = nullcontext

    def views(self, width: int, height: int) -> list[View]:
        return self.plan.views(width, height, self.size)

    def factor(self, width: int, height: int) -> int:
        return self.plan.factor(width, height, self.size)

    def predict(
        self,
        image: np.ndarray,
        confidence: float | None = None,
        plan: SlicingPlan | None = None,
        size: tuple[int, int] | None = None,
    ) -> Prediction:
        bright = image[..., 0] > 200
        detections = []
        seed = next((s for s in range(300) if np.array_equal(draw(s)[0][..., ::-1], image)), None)
        for _, x, y, w, h in draw(seed)[1] if seed is not None else []:
            box = ((x - w / 2) * 64, (y - h / 2) * 64, w * 64, h * 64)
            detections.append(Detection(self.says, self.categories.index(self.says), 0.9, *box))
        return Prediction(detections, [float(bright.mean()), 1.0])


class Watching(Stub):
    """A model that finds nothing, and remembers what it was shown."""

    def __init__(self, window: RadiometricWindow | None) -> None:
        super().__init__(["square", "disc"], "square")
        self.window, self.seen = window, set[bytes]()

    def predict(
        self,
        image: np.ndarray,
        confidence: float | None = None,
        plan: SlicingPlan | None = None,
        size: tuple[int, int] | None = None,
    ) -> Prediction:
        self.seen.add(image.tobytes())
        return Prediction([], [0.0])


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    inputs = tmp_path / "ml" / "processing" / "input"
    write_channel(inputs / "test", range(200, 207))
    write_channel(inputs / "reference", range(100, 103))
    for model in ("candidate", "champion"):
        (inputs / model).mkdir()
        (inputs / model / "model.tar.gz").touch()
    return tmp_path / "ml"


def run(base: Path, monkeypatch: pytest.MonkeyPatch, **models: Stub) -> dict[str, Any]:
    monkeypatch.setattr(evaluate, "_model", lambda _, name: name)
    monkeypatch.setattr(
        evaluate,
        "choose",
        lambda name, images, sizes, labels: Choice("fastest", {"fastest": {"milliseconds": 1.0, "alike": len(images)}}),
    )
    monkeypatch.setattr(evaluate, "_load", lambda name, engine: loaded(models[name], engine))
    monkeypatch.setattr(evaluate, "read", lambda name: models[name])
    evaluate.run(Environment(base))
    return json.loads((base / "processing" / "output" / "evaluation.json").read_text())


def loaded(model: Stub, engine: str) -> Stub:
    if engine == "lost":
        raise EngineMissing("it is not there")
    if engine == "other":
        raise EngineDiffers("it is something else")
    model.engine = engine
    return model


def test_a_model_is_judged_with_the_engine_that_will_serve_it(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    candidate, champion = Stub(["square", "disc"], "square"), Stub(["square", "disc"], "square")
    result = run(base, monkeypatch, candidate=candidate, champion=champion)
    assert result["engine"] == {"name": "fastest", "measured": {"fastest": {"milliseconds": 1.0, "alike": 3}}}
    assert (candidate.engine, champion.engine) == ("fastest", "onnxruntime")
    monkeypatch.setenv("SKYLOOP_ENGINE", "asked")
    monkeypatch.setenv("SKYLOOP_CHAMPION_ENGINE", "its own")
    assert run(base, monkeypatch, candidate=candidate, champion=champion)["engine"] == {"name": "asked", "measured": {}}
    assert (candidate.engine, champion.engine) == ("asked", "its own")


@pytest.mark.parametrize(("engine", "why"), [("lost", "it is not there"), ("other", "it is something else")])
def test_an_engine_that_an_endpoint_would_refuse_is_told(
    engine: str, why: str, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidate, champion = Stub(["square", "disc"], "square"), Stub(["square", "disc"], "square")
    monkeypatch.setenv("SKYLOOP_CHAMPION_ENGINE", engine)
    result = run(base, monkeypatch, candidate=candidate, champion=champion)
    assert champion.engine == "onnxruntime"
    assert result["notes"] == [f"The champion is judged with onnxruntime, not with {engine}: {why}."]
    monkeypatch.setenv("SKYLOOP_ENGINE", engine)
    with pytest.raises(JobError, match=f"cannot be judged with {engine}: {why}"):
        run(base, monkeypatch, candidate=candidate, champion=champion)


def test_categories_are_matched_by_name(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The champion's list has another order: its class ids mean other things, its names do not."""
    champion = Stub(["tower", "square"], "square")
    result = run(base, monkeypatch, candidate=Stub(["square", "disc"], "square"), champion=champion)
    assert result["candidate"]["map50"] == result["champion"]["map50"] == 1
    assert result["comparison"]["categories"] == ["square"]
    assert result["comparison"]["map50_difference"] == 0
    assert list(result["champion"]["per_class"]) == ["square"]
    assert result["notes"] == ["The champion does not know disc: it is compared on square."]


def test_a_champion_that_knows_nothing_of_it_is_not_compared(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(base, monkeypatch, candidate=Stub(["square", "disc"], "square"), champion=Stub(["car"], "car"))
    assert result["champion"] is None
    assert result["comparison"] is None
    assert len(result["notes"]) == 2


def test_a_worse_candidate_is_seen(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    candidate = Stub(["square", "disc"], "disc")  # sees everything, calls it by the wrong name
    result = run(base, monkeypatch, candidate=candidate, champion=Stub(["square"], "square"))
    assert result["candidate"]["map50"] == 0
    assert result["comparison"]["map50_difference"] == -1
    assert result["comparison"]["interval"] == [-1, -1]


def test_baseline_and_golden_predictions(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (base / "processing" / "input" / "champion" / "model.tar.gz").unlink()
    result = run(base, monkeypatch, candidate=Stub(["square", "disc"], "square"))
    assert result["champion"] is None
    output = base / "processing" / "output"
    baseline = json.loads((output / "baseline.json").read_text())
    first = next((base / "processing" / "input" / "reference").rglob("*64.png"))  # seed 100
    statistics = image_statistics(decode(first.read_bytes(), None), SlicingPlan(), 64)
    assert baseline["profiles"][0] == pytest.approx([statistics[name] for name in STATISTICS], abs=1e-6)
    assert (baseline["version"], baseline["count"]) == (PROFILE_VERSION, 3)
    assert baseline["detections"]["per_category"]["square"] == sum(len(draw(seed)[1]) for seed in range(100, 103))
    answers = json.loads((output / "golden-predictions.json").read_text())["answers"]
    assert len(answers) == 5
    assert all(answer["detections"] and answer["looks"] > 0 for answer in answers)


def test_golden_predictions_are_of_each_format_and_size(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A version may die of one kind of picture that is rare, and that its model is not sure of."""
    inputs = base / "processing" / "input"
    shutil.rmtree(inputs / "test")
    write_channel(inputs / "test", range(200, 208))
    large, stored_otherwise = (f"images/{seed:016x}.png" for seed in (205, 207))
    pixels = np.zeros((640, 640, 3), np.uint8)
    cv2.imwrite(str(inputs / "test" / large), pixels)
    lines = (inputs / "test" / "labels.jsonl").read_text().splitlines()
    lines[5] = json.dumps({"image": large, "width": 640, "height": 640, "flight": "flight-1", "boxes": []})
    (inputs / "test" / "labels.jsonl").write_text("\n".join(lines))
    _, jpeg = cv2.imencode(".jpg", pixels[:64, :64])
    (inputs / "test" / stored_otherwise).write_bytes(jpeg.tobytes())
    run(base, monkeypatch, candidate=Stub(["square", "disc"], "square"), champion=Stub(["square", "disc"], "square"))
    answers = json.loads((base / "processing" / "output" / "golden-predictions.json").read_text())["answers"]
    assert [bool(answer["detections"]) for answer in answers] == [True, False, False, True, True]
    names = [answer["uri"].removeprefix("s3://bucket/") for answer in answers]
    assert set(names[1:3]) == {large, stored_otherwise}
    assert len(set(names)) == 5


def test_each_model_sees_counts_through_its_own_window(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = base / "processing" / "input"
    to_counts(inputs / "test")
    to_counts(inputs / "reference")
    candidate, champion = Watching(RadiometricWindow(20_000, 20_510)), Watching(None)
    result = run(base, monkeypatch, candidate=candidate, champion=champion)
    assert result["notes"] == ["Gray of 16 bits is seen through each model's own window: 20000-20510 and none."]
    bodies = {name: [path.read_bytes() for path in sorted((inputs / name / "images").iterdir())] for name in SPLITS}
    seen = {name: [decode(body, candidate.window) for body in bodies[name]] for name in SPLITS}
    # Those of the golden predictions are among the test set's.
    assert candidate.seen == {picture.tobytes() for name in SPLITS for picture in seen[name]}
    assert champion.seen == {decode(body, None).tobytes() for body in bodies["test"]}
    baseline = json.loads((base / "processing" / "output" / "baseline.json").read_text())
    statistics = image_statistics(seen["reference"][0], SlicingPlan(), 64)
    assert baseline["profiles"][0] == pytest.approx([statistics[name] for name in STATISTICS], abs=1e-6)
    assert statistics["slice_contrast"] > 0.1  # two grays of the high byte would have 0.002


@pytest.mark.parametrize("windows", [(None, None), (None, (5, 900)), ((5, 900), (5, 900)), ((20_000, 20_510), None)])
def test_no_picture_of_eight_bits_is_read_twice(
    windows: tuple[Any, Any], base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []
    monkeypatch.setattr(dataset, "open_picture", lambda data, kinds: reads.append(data) or open_picture(data, kinds))
    candidate, champion = (Watching(RadiometricWindow(*window) if window else None) for window in windows)
    run(base, monkeypatch, candidate=candidate, champion=champion)
    pictures = 6  # of the report, which reads them once more
    golden = 5  # predicted as the endpoint does
    assert len(reads) == 7 + 2 * 3 + golden + pictures  # the reference twice: to choose an engine too
    assert len(champion.seen) == 7


@pytest.mark.parametrize("packed", [True, False])
def test_what_was_judged_is_known_again_by_its_digest(
    packed: bool, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = base / "processing" / "input" / "candidate" / "model.tar.gz"
    archive.write_bytes(b"the candidate")
    if not packed:
        archive.rename(archive.with_name("model.json"))  # loose files, and no one object to know again
    candidate = Stub(["square", "disc"], "square")
    run(base, monkeypatch, candidate=candidate, champion=candidate)
    output = base / "processing" / "output"
    evaluation = Evaluation.parse((output / "evaluation.json").read_bytes())
    assert evaluation.model_sha256 == (hashlib.sha256(b"the candidate").hexdigest() if packed else None)
    golden = (output / "golden-predictions.json").read_bytes()
    assert evaluation.golden_predictions_sha256 == hashlib.sha256(golden).hexdigest()


def test_a_candidate_that_finds_nothing_still_has_golden_predictions(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blind = Stub(["square", "disc"], "square", confidence=0.95)
    run(base, monkeypatch, candidate=blind, champion=blind)
    answers = json.loads((base / "processing" / "output" / "golden-predictions.json").read_text())["answers"]
    assert len(answers) == 5


@pytest.mark.parametrize(("confidence", "boxes"), [(0.5, 1), (0.8, 3)])
def test_golden_predictions_are_what_another_processor_finds_too(
    confidence: float, boxes: int, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A box of 0.9 is, others are of 0.55. Where none is, all of up to three boxes count."""

    class Unsure(Stub):
        def predict(self, *arguments: Any, **named: Any) -> Prediction:
            seen = super().predict(*arguments, **named)
            second = max(0.55, self.confidence + 0.01)
            return replace(
                seen, detections=[*seen.detections[:1], *(replace(d, confidence=second) for d in seen.detections[1:])]
            )

    unsure = Unsure(["square", "disc"], "square", confidence)
    run(base, monkeypatch, candidate=unsure, champion=unsure)
    answers = json.loads((base / "processing" / "output" / "golden-predictions.json").read_text())["answers"]
    assert max(len(answer["detections"]) for answer in answers) == boxes


def test_a_candidate_without_a_category_is_refused(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(JobError, match="does not know disc"):
        run(base, monkeypatch, candidate=Stub(["square"], "square"))


def test_a_test_set_without_boxes_is_refused(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_boxes(base / "processing" / "input" / "test" / "labels.jsonl")
    with pytest.raises(JobError, match="None of the 7 test images has a box"):
        run(base, monkeypatch, candidate=Stub(["square", "disc"], "square"), champion=Stub(["square"], "square"))


def test_a_test_image_that_cannot_be_used_is_left_out_for_both_models(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged, thin, *_ = sorted((base / "processing" / "input" / "test").rglob("*.png"))
    damaged.write_bytes(damaged.read_bytes()[:200])
    cv2.imwrite(str(thin), np.zeros((1, 1300, 3), dtype=np.uint8))
    candidate = Stub(["square", "disc"], "square")
    run(base, monkeypatch, candidate=candidate, champion=candidate)
    evaluation = json.loads((base / "processing" / "output" / "evaluation.json").read_text())
    assert evaluation["images"] == 5
    assert {item["name"].rpartition("/")[2] for item in evaluation["dropped"]} == {damaged.name, thin.name}
    assert any("1300 × 1 pixels" in note for note in evaluation["notes"])
    assert evaluation["champion"]["map50"] == evaluation["candidate"]["map50"]
    assert thin.name in (base / "processing" / "output" / "report.html").read_text()


@pytest.mark.parametrize("value", ["", "square", '{"square": 0}', "[]", "[1]"])
def test_bad_settings_are_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKYLOOP_CATEGORIES", value)
    with pytest.raises(JobError, match="SKYLOOP_CATEGORIES"):
        Settings.current()


def test_names_are_escaped_in_the_report(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKYLOOP_CATEGORIES", json.dumps(["square", "<script>"]))
    candidate = Stub(["square", "<script>"], "square")
    run(base, monkeypatch, candidate=candidate, champion=candidate)
    report = (base / "processing" / "output" / "report.html").read_text()
    assert "<script>" not in report
    assert "&lt;script&gt;" in report
    assert report.count("<polyline") == 2  # a curve for each model, for the one category with boxes
    assert report.count("data:image/jpeg") == 6
