"""A day in the life, act by act."""

from __future__ import annotations

import json
from itertools import takewhile
from pathlib import Path

from PIL import Image
from skyloop.documents import CatalogueItem, Detection
from skyloop.formats.evaluation import Evaluation
from skyloop.layout import DRIFT_FLIGHTS, DatasetFiles

from cli import snapshot
from cli.alerts import ArchivedAlert
from cli.detect import ImageDetections, upright
from cli.labels import read_labels
from cli.snapshot import Snapshot
from demo.imagery import sha256_of
from demo.pictures import Picture, boxed, compared, contact_sheet, trees_found
from demo.play import DemoFailed, Outcome, Play, shown

RETRAIN_SECONDS = 900.0  # a machine that also does other work is slow
DRIFT_SECONDS = 180.0
SHOWN = 4  # frames per contact sheet
ACT_ONE = "1  Flight lines arrive: label, train, gate, deploy"
ACT_LOOK = "2  What it detects on ground it was never trained on"
ACT_TWO = "3  More flight lines: retrain from v1, compare, canary"
ACT_SCRAMBLED = "4  A batch with scrambled labels"
ACT_DRIFT = "5  Traffic from other sites"


def known_boxes(folder: Path) -> dict[str, list[Detection]]:
    """The boxes of a drop's COCO file, by file name of the image."""
    coco = read_labels(folder / "annotations.json")
    categories = {category.id: category.name for category in coco.categories}
    names = {image.id: Path(image.file_name).name for image in coco.images}
    boxes: dict[str, list[Detection]] = {name: [] for name in names.values()}
    for item in coco.annotations:
        left, top, width, height = item.bbox
        box = Detection(category=categories[item.category_id], left=left, top=top, width=width, height=height)
        boxes[names[item.image_id]].append(box)
    return boxes


def frames(folder: Path) -> list[Path]:
    """The frames of a drop, sorted by path."""
    return sorted(folder.rglob("*.jpg"))


def first_flights(play: Play) -> Outcome:
    """Flight lines 1 -> v1 in service."""
    play.narrator.act(ACT_ONE)
    before = play.labeling_jobs()
    play.drop(play.drops.first)
    outcome = play.outcome(before, RETRAIN_SECONDS)
    _keep_decision(play, "v1", outcome)
    if not outcome.deployed:
        raise DemoFailed(f"The first model did not come into service: {outcome.decision.summary}")
    evaluation = Evaluation.parse(play.cloud.storage.read(outcome.artifacts.evaluation).body)
    play.narrator.say(
        f"v1 is in service: {outcome.numbers} on {evaluation.images} frames of the frozen test set", "good"
    )
    play.row("flight lines 1", f"v1 approved and deployed, {outcome.numbers}", outcome.artifacts.folder)
    return outcome


def unseen_frames(play: Play, outcome: Outcome) -> list[Path]:
    """Frames that no model is ever trained on: some of the frozen test set, as the dataset's manifest names them.

    Every third is enough: neighbors overlap, and drift must not be judged on so little traffic from one place.
    """
    manifest: list[object] = json.loads(
        play.cloud.storage.read(DatasetFiles(outcome.decision.dataset_id).manifest("test")).body
    )
    named = {Path(entry).stem for entry in manifest if isinstance(entry, str)}
    found = [path for path in frames(play.drops.first) if sha256_of(path) in named]
    return found[::3]


def look(play: Play, act: str, version: str, paths: list[Path]) -> None:
    """Detections on frames that were never trained on, drawn over the boxes that are known for them."""
    boxes = known_boxes(play.drops.first)
    detected = play.detect(paths)
    trees = sum(len(boxes[path.name]) for path in paths)
    hits = sum(trees_found(image.detections, boxes[image.path.name]) for image in detected)
    count = sum(len(image.detections) for image in detected)
    text = f"{version} finds {hits} of {trees} trees on {len(paths)} frames it was never trained on, with {count} boxes"
    play.narrator.say(text, "good", "detect")
    caption = f"{text}. Yellow: detections. White: boxes drawn by people."
    play.pictures.append(Picture(act, caption, contact_sheet(_compared(detected, boxes), 2)))
    play.row(f"{version} on unseen ground", f"{hits} of {trees} trees found, {count} boxes", shown(play.page))


def more_flights(play: Play) -> Outcome:
    """Flight lines 2 -> retrained from v1, compared with it; v2 in service, or refused with the numbers."""
    before = play.labeling_jobs()
    play.drop(play.drops.second)
    outcome = play.outcome(before, RETRAIN_SECONDS)
    _keep_decision(play, "v2", outcome)
    if outcome.deployed:
        result = f"v2 approved, canary, deployed: {outcome.numbers}"
        play.narrator.say(result, "good")
    elif outcome.approved:
        result = f"v2 approved but its deployment was rolled back: {outcome.numbers}; v1 still serves"
        play.narrator.say(result, "warning")
    else:
        result = f"refused, v1 still serves: {outcome.numbers}"
        play.narrator.say(f"{result}. {outcome.decision.summary}", "warning")
    play.row("flight lines 2", result, outcome.artifacts.decision)
    return outcome


def scrambled_labels(play: Play) -> Outcome:
    """A batch with scrambled labels -> trained -> refused, the champion still serving."""
    play.narrator.act(ACT_SCRAMBLED)
    serving = snapshot.endpoint(play.cloud)
    before = play.labeling_jobs()
    boxes = known_boxes(play.drops.scrambled)
    shown = frames(play.drops.scrambled)[5::10][:SHOWN]
    images = [boxed(upright(path.read_bytes()), boxes[path.name], "#ff375f") for path in shown]
    caption = "What the workers answered: every box about three times too large."
    play.pictures.append(Picture(ACT_SCRAMBLED, caption, contact_sheet(images, 4)))
    play.drop(play.drops.scrambled)
    outcome = play.outcome(before, RETRAIN_SECONDS)
    _keep_decision(play, "scrambled", outcome)
    now = snapshot.endpoint(play.cloud)
    if outcome.approved:
        result = f"the gate approved it: {outcome.numbers}"
        play.narrator.say(f"{result}. The scrambled labels did not hurt enough to show on the test set.", "error")
    else:
        same = now.config == serving.config and now.status == "InService"
        result = f"refused: {outcome.numbers}; version {now.version} {'still serves' if same else 'is ' + now.status}"
        play.narrator.say(f"{result}. {outcome.decision.summary}", "good" if same else "error")
    play.row("scrambled labels", result, outcome.artifacts.decision)
    return outcome


def other_sites(play: Play) -> None:
    """Traffic from other sites -> drift -> an alert reaches the subscriber -> those images head the queue."""
    play.narrator.act(ACT_DRIFT)
    received = len(play.subscriber.received)
    play.drop(play.drops.waiting, labeled=False)
    play.narrator.say("fewer than a batch: they wait in the labeling queue", stage="label")
    boxes = known_boxes(play.drops.visitors)
    paths = frames(play.drops.visitors)
    detected = play.detect(paths)
    count = sum(len(image.detections) for image in detected)
    play.narrator.say(f"{len(paths)} frames from OSBS and SOAP sent to the endpoint: {count} boxes", stage="detect")
    caption = "Frames from other sites. Yellow: detections. White: boxes drawn by people."
    play.pictures.append(Picture(ACT_DRIFT, caption, contact_sheet(_compared(detected, boxes), 4)))

    def alerted(_: Snapshot) -> ArchivedAlert | None:
        return next((alert for alert in play.subscriber.received[received:] if alert["event"] == "drift"), None)

    alert = play.follow(alerted, "the drift alert to reach its subscriber", DRIFT_SECONDS)
    play.narrator.say(f"the subscriber received: {alert['what']} {alert['why']}", "good", "alert")
    drift = snapshot.drift(play.cloud)
    report = (drift.report_key or "") if drift else ""
    play.artifacts["What drifted, with pictures"] = report.removesuffix(".json") + ".html"
    play.row("traffic from other sites", "drift; the SNS alert reached its subscriber over HTTP", report)

    def queued(_: Snapshot) -> list[CatalogueItem] | None:
        catalogue = play.cloud.catalogue
        waiting = list(catalogue.by_status("PENDING", limit=100)) or list(catalogue.by_status("LABELING", limit=100))
        return waiting if 0 < sum(map(_is_drifted, waiting)) < len(waiting) else None

    waiting = play.follow(queued, "the drifted images to be catalogued", DRIFT_SECONDS)
    ahead = len(list(takewhile(_is_drifted, waiting)))
    result = f"{ahead} drifted images head the labeling queue of {len(waiting)}"
    play.narrator.say(result, "good", "label")
    play.row("drifted images", result, waiting[0].key.rpartition("/")[0] + "/")
    _show_queue(play, [item.key for item in waiting[: SHOWN * 2]])


def _is_drifted(item: CatalogueItem) -> bool:
    return item.key.startswith(DRIFT_FLIGHTS)


def _compared(detected: list[ImageDetections], boxes: dict[str, list[Detection]]) -> list[Image.Image]:
    """Some of the images, with detections over known boxes."""
    shown = detected[:: max(1, len(detected) // SHOWN)][:SHOWN]
    return [compared(upright(image.path.read_bytes()), image.detections, boxes[image.path.name]) for image in shown]


def _show_queue(play: Play, keys: list[str]) -> None:
    images: list[Image.Image] = []
    for key in keys:
        image = upright(play.cloud.storage.read(key).body)
        image.thumbnail((220, 220))
        square = Image.new("RGB", (220, 220), "white")
        square.paste(image)
        images.append(square)
    play.pictures.append(Picture(ACT_DRIFT, "The head of the labeling queue now.", contact_sheet(images, 4)))


def _keep_decision(play: Play, name: str, outcome: Outcome) -> None:
    play.artifacts[f"{name}: the gate's decision"] = outcome.artifacts.decision
    play.artifacts[f"{name}: the evaluation"] = outcome.artifacts.report
    play.artifacts[f"{name}: the dataset"] = DatasetFiles(outcome.decision.dataset_id).report
