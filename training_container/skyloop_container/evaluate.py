"""`evaluate`, a SageMaker processing job: candidate and champion on the same frozen test set, as they are served."""

import hashlib
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .average_precision import EVALUATOR
from .card import read
from .dataset import Sample, opened, read_channel, read_frame, report_dropped, spread, with_pictures
from .detections import ScoredImage
from .engine_choice import ALIKE_CONFIDENCE, Choice, EngineDiffers, choose, verify
from .engines import REFERENCE, EngineMissing
from .environment import Environment, JobError, available_cores, model_archive, unpack_model
from .inference import Detector
from .labels_check import compare_by_labels
from .metrics import compare, score
from .predictions import MAX_BODY, predict_image, score_image
from .profile import PROFILE_VERSION, STATISTICS, image_statistics
from .radiometry import may_matter
from .report import write_report
from .slicing import SlicingPlan

GOLDEN_PREDICTIONS = 5  # images
SIZE_CLASS = 4  # times as many pixels
ENGINE_IMAGES = 8  # that engines are compared on

Ranked = tuple[float, Sample, float]
"""Mean confidence of an image's detections, the image, and the looks that it took."""


@dataclass(frozen=True)
class Settings:
    """What the processing job's Environment says."""

    categories: list[str]
    dataset_id: str
    test_set_id: str
    training_job: str
    test_prefix: str
    correlation_id: str
    engine: str
    champion_engine: str

    @classmethod
    def current(cls) -> "Settings":
        """Read SKYLOOP_* from the environment.

        Raises:
            JobError: SKYLOOP_CATEGORIES is missing or not a list of names.
        """
        try:
            categories = json.loads(os.environ["SKYLOOP_CATEGORIES"])
        except (KeyError, ValueError) as error:
            raise JobError("The environment must hold SKYLOOP_CATEGORIES, a JSON list of names.") from error
        if not isinstance(categories, list) or not categories or not all(isinstance(c, str) for c in categories):
            raise JobError("SKYLOOP_CATEGORIES must be a JSON list of names.")
        names = (
            "DATASET_ID", "TEST_SET_ID", "TRAINING_JOB", "TEST_PREFIX", "CORRELATION_ID", "ENGINE", "CHAMPION_ENGINE",
        )  # fmt: skip
        return cls(categories, *(os.environ.get(f"SKYLOOP_{name}", "") for name in names))


def run(environment: Environment) -> str:
    """Evaluate and write evaluation.json, baseline.json, golden-predictions.json and report.html.

    Returns:
        One line that says how it went.

    Raises:
        JobError: an input is missing or unusable; the text says which.
    """
    settings = Settings.current()
    inputs, output = environment.processing_input, environment.processing_output
    judged = model_archive(inputs / "candidate")
    model_sha256 = _sha256(judged) if judged else None
    folder = _model(environment, "candidate")
    reference, without = read_channel(inputs / "reference", len(settings.categories))
    report_dropped("reference", without)
    engine = _choose(folder, reference, settings)
    try:
        candidate = _load(folder, engine.name)
    except (EngineMissing, EngineDiffers) as error:
        raise JobError(f"The model cannot be judged with {engine.name}: {error}.") from error
    if missing := [name for name in settings.categories if name not in candidate.categories]:
        raise JobError(f"Category mismatch: the candidate does not know {', '.join(missing)}.")
    champion, notes = None, []
    if _holds_files(inputs / "champion"):
        folder = _model(environment, "champion")
        try:
            champion = _load(folder, settings.champion_engine or REFERENCE)
        except (EngineMissing, EngineDiffers) as error:
            notes.append(f"The champion is judged with {REFERENCE}, not with {settings.champion_engine}: {error}.")
            champion = _load(folder, REFERENCE)
    test, dropped = read_channel(inputs / "test", len(settings.categories))
    report_dropped("test", dropped)
    output.mkdir(parents=True, exist_ok=True)

    def look(sample: Sample, image: np.ndarray) -> tuple[ScoredImage, ScoredImage, ScoredImage | None]:
        names = settings.categories
        ours = score_image(candidate, sample, image, names)
        # One window may hold all slices, at another scale.
        whole = SlicingPlan().views(sample.width, sample.height, candidate.size)
        return (
            ours,
            score_image(candidate, sample, image, names, SlicingPlan())
            if candidate.views(sample.width, sample.height) != whole
            else ours,
            score_image(champion, sample, _as_seen(champion, candidate, sample, image), names) if champion else None,
        )

    looked, unread = with_pictures("test", test, candidate.window, look, candidate.factor)
    report_dropped("test", unread)
    dropped += unread
    test = [sample for sample, _ in looked]
    boxes = sum(len(sample.boxes) for sample in test)
    if not boxes:
        raise JobError(f"None of the {len(test)} test images has a box: nothing can be measured.")
    ours, unsliced = [scored[0] for _, scored in looked], [scored[1] for _, scored in looked]
    scores = _scores(candidate, ours, settings.categories)
    evaluation = {
        "dataset_id": settings.dataset_id,
        "test_set_id": settings.test_set_id,
        "training_job": settings.training_job,
        "correlation_id": settings.correlation_id,
        "images": len(test),
        "boxes": boxes,
        "candidate": scores,
        "slicing": _slicing(candidate, scores["map50"], ours, unsliced, settings.categories),
        "engine": {"name": engine.name, "measured": engine.measured},
        "champion": None,
        "comparison": None,
        "dropped": [item.as_dict() for item in dropped],
        "notes": notes
        + _on_windows(candidate, champion)
        + [f"{item.name} was left out for both models: {item.reason}" for item in dropped],
        "versions": candidate.card.versions,
        "evaluator": EVALUATOR,
    }
    theirs = None
    if champion:
        theirs = [scored[2] for _, scored in looked if scored[2] is not None]
        _compare(evaluation, settings, champion, ours, theirs)
    golden = output / "golden-predictions.json"
    _write(golden, _golden_predictions(candidate, test, ours, settings))
    # By these a deployment knows again what was judged here.
    evaluation |= {"model_sha256": model_sha256, "golden_predictions_sha256": _sha256(golden)}
    _write(output / "evaluation.json", evaluation)
    _write(output / "baseline.json", _baseline(candidate, reference, settings))
    write_report(output / "report.html", evaluation, test, ours, theirs, candidate.window)
    return _summary(evaluation)


def _on_windows(candidate: Detector, champion: Detector | None) -> list[str]:
    """A note where the two models see the same counts as other grays."""
    if champion is None or champion.window == candidate.window:
        return []
    windows = f"{candidate.window or 'none'} and {champion.window or 'none'}"
    return [f"Gray of 16 bits is seen through each model's own window: {windows}."]


def _as_seen(detector: Detector, other: Detector, sample: Sample, image: np.ndarray) -> np.ndarray:
    """The picture that another detector was shown, as this one sees it: as it is served."""
    as_large = detector.factor(sample.width, sample.height) == other.factor(sample.width, sample.height)
    if as_large and (detector.window == other.window or not may_matter(sample)):
        return image
    return read_frame(opened(sample.path.read_bytes()), detector.window, detector.factor).pixels


def _model(environment: Environment, name: str) -> Path:
    folder = environment.processing_input / name
    if not _holds_files(folder):
        raise JobError(f"The input '{name}' is missing or empty.")
    return unpack_model(folder, environment.scratch / name)


def _choose(model_dir: Path, reference: list[Sample], settings: Settings) -> Choice:
    """The engine that is asked for, or what is fastest on a few pictures of the validation flights."""
    if settings.engine not in ("", "measured"):
        return Choice(settings.engine, {})
    window = read(model_dir).window
    try:
        looked, _ = with_pictures("reference", spread(reference, ENGINE_IMAGES), window, lambda _, image: image)
    except JobError:
        looked = []  # most of these few cannot be read; the whole channel is another question
    choice = choose(
        model_dir,
        [image for _, image in looked],
        {(one.width, one.height) for one in reference},
        lambda known, other: compare_by_labels(known, other, reference, settings.categories),
    )
    print(f"engine: {choice.name}; {json.dumps(choice.measured)}", flush=True)
    return choice


def _load(model_dir: Path, engine: str) -> Detector:
    """Raises EngineMissing, EngineDiffers: an endpoint would not serve with it either."""
    detector = Detector.load(model_dir, threads=1, pictures=available_cores(), engine=engine)  # as it is served
    verify(detector, engine)
    return detector


def _holds_files(folder: Path) -> bool:
    return folder.is_dir() and any(path.is_file() for path in folder.rglob("*"))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _scores(detector: Detector, images: list[ScoredImage], categories: list[str]) -> dict[str, Any]:
    scores = score(images, categories, detector.confidence)
    return scores | {"training_job": detector.card.training_job}


def _slicing(
    detector: Detector,
    map50: float | None,
    images: list[ScoredImage],
    unsliced: list[ScoredImage],
    categories: list[str],
) -> dict[str, Any]:
    """The plan, and what it gains: the same pictures looked at whole only. map50: with the plan."""
    if any(one is not other for one, other in zip(images, unsliced, strict=True)):
        map50 = score(unsliced, categories, detector.confidence)["map50"]
    return detector.plan.as_card() | {
        "cost": round(float(np.mean([image.looks for image in images])), 2),
        "map50_without": map50,
    }


def _compare(
    evaluation: dict[str, Any],
    settings: Settings,
    champion: Detector,
    ours: list[ScoredImage],
    theirs: list[ScoredImage],
) -> None:
    """Score the champion on the categories that it knows, by name: its list may be another one, in another order."""
    shared = [name for name in settings.categories if name in champion.categories]
    labeled = [name for name in shared if evaluation["candidate"]["per_class"][name]["boxes"]]
    unknown = [name for name in settings.categories if name not in champion.categories]
    if unknown:
        evaluation["notes"].append(
            f"The champion does not know {', '.join(unknown)}: it is compared on {', '.join(shared) or 'nothing'}."
        )
    if not labeled:
        evaluation["notes"].append("The test set has no box of a category that the champion knows: no comparison.")
        return
    evaluation["champion"] = _scores(champion, theirs, shared)
    evaluation["comparison"] = compare(ours, theirs, labeled)


def _baseline(detector: Detector, reference: list[Sample], settings: Settings) -> dict[str, Any]:
    """What images and predictions look like without drift: on the validation split, which the PCA has not seen."""
    profiles, features, groups, counts, confidences = [], [], [], [], []
    per_category = dict.fromkeys(settings.categories, 0)
    looked, _ = with_pictures(
        "reference",
        reference,
        detector.window,
        lambda sample, image: (
            image_statistics(image, detector.plan, detector.size, (sample.width, sample.height)),
            detector.predict(image, size=(sample.width, sample.height)),
        ),
        detector.factor,
    )
    for sample, (statistics, prediction) in looked:
        profiles.append([round(statistics[name], 6) for name in STATISTICS])
        features.append([round(value, 5) for value in prediction.features])
        groups.append(sample.flight)
        counts.append(len(prediction.detections))
        confidences += [detection.confidence for detection in prediction.detections]
        for detection in prediction.detections:
            per_category[detection.category] = per_category.get(detection.category, 0) + 1
    return {
        "version": PROFILE_VERSION,
        "profile_names": list(STATISTICS),
        "profiles": profiles,
        "features": features,
        "groups": groups,
        "detections": {
            "confidence": detector.confidence,
            "mean_count": round(float(np.mean(counts)), 4),
            "mean_confidence": round(float(np.mean(confidences)), 4) if confidences else None,
            "per_category": per_category,
        },
        "dataset_id": settings.dataset_id,
        "count": len(looked),
    }


def _golden_predictions(
    detector: Detector, test: list[Sample], images: list[ScoredImage], settings: Settings
) -> dict[str, Any]:
    """A few test images with the detections that the endpoint must repeat: see `_varied`.

    Those of the highest mean confidence come first, and images without a detection last, so that a candidate that finds
    nothing can be checked too. Larger files than an endpoint takes are left out. Of each image only detections count
    that another processor would not take below the confidence of service, unless there is none on any.
    """
    ranked: list[Ranked] = []
    for sample, image in zip(test, images, strict=True):
        if sample.path.stat().st_size > MAX_BODY:
            continue
        confident = image.detections.confidences[image.detections.confidences >= detector.confidence]
        ranked.append((float(np.mean(confident)) if len(confident) else 0.0, sample, image.looks))
    ranked.sort(key=lambda one: (-one[0], one[1].name))
    chosen = _varied(ranked)
    found = [predict_image(detector, opened(sample.path.read_bytes()), None)["detections"] for _, sample, _ in chosen]
    least = detector.confidence + ALIKE_CONFIDENCE
    sure = [[one for one in detections if one["confidence"] >= least] for detections in found]
    return {
        "training_job": settings.training_job,
        "answers": [
            {
                "uri": settings.test_prefix.rstrip("/") + "/" + sample.name,
                "detections": detections,
                "looks": round(looks, 2),
            }
            for (_, sample, looks), detections in zip(chosen, sure if any(sure) else found, strict=True)
        ],
    }


def _varied(ranked: list[Ranked]) -> list[Ranked]:
    """The first of those that are ranked, but of each format and of each class of sizes before of any again.

    What ends the process of an endpoint may be one way of reading pictures that the first ones do not go.
    """
    rest = [(one, _kind(one[1])) for one in ranked]
    chosen: list[Ranked] = []
    formats, sizes = set(), set()
    while rest and len(chosen) < GOLDEN_PREDICTIONS:
        # min gives the first of those that bring as much that is new.
        found = min(rest, key=lambda each: (each[1][0] in formats) + (each[1][1] in sizes))
        rest.remove(found)
        one, (stored, size) = found
        chosen.append(one)
        formats.add(stored)
        sizes.add(size)
    return chosen


def _kind(sample: Sample) -> tuple[tuple[bytes, bool], int]:
    """How a picture is stored, as the first two bytes and a need for a window tell; and its class of sizes."""
    with sample.path.open("rb") as file:
        stored = (file.read(2), may_matter(sample))
    return stored, round(math.log(sample.width * sample.height, SIZE_CLASS))


def _write(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps(document, ensure_ascii=False, indent=1), encoding="utf-8")


def _summary(evaluation: dict[str, Any]) -> str:
    text = f"mAP50 {evaluation['candidate']['map50']:.3f} on {evaluation['images']} images, {evaluation['boxes']} boxes"
    if comparison := evaluation["comparison"]:
        low, high = comparison["interval"]
        text += (
            f"; champion {evaluation['champion']['map50']:.3f}, difference {comparison['map50_difference']:+.3f} "
            f"({low:+.3f} to {high:+.3f})"
        )
    print(text, flush=True)
    return text + "."
