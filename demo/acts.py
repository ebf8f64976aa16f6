"""A day in the life, act by act."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

from cli import detect, snapshot
from cli.snapshot import Snapshot
from demo.imagery import Box, sha256_of
from demo.pictures import Picture, boxed, compared, found, sheet
from demo.play import DemoFailed, Outcome, Play

RETRAIN_SECONDS = 900.0  # a machine that does other things as well takes its time
DRIFT_SECONDS = 180.0
SHOWN = 4  # frames a contact sheet
ACT_ONE = "1  Flight lines arrive: label, train, judge, deploy"
ACT_LOOK = "2  What it sees on ground it was never trained on"
ACT_TWO = "3  More flight lines: retrain from v1, compare, canary"
ACT_SCRAMBLED = "4  A batch with scrambled labels"
ACT_DRIFT = "5  Traffic from other sites"


def known_boxes(folder: Path) -> dict[str, list[Box]]:
    """Boxes by file name from a drop's COCO file."""
    document = json.loads((folder / "annotations.json").read_text())
    names = {image["id"]: Path(image["file_name"]).name for image in document["images"]}
    boxes: dict[str, list[Box]] = {name: [] for name in names.values()}
    for item in document["annotations"]:
        left, top, width, height = item["bbox"]
        boxes[names[item["image_id"]]].append((left, top, left + width, top + height))
    return boxes


def frames(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.jpg"))


def first_flights(play: Play) -> Outcome:
    """Flight lines 1 -> v1 in service."""
    play.narrator.act(ACT_ONE)
    before = play.labeling_jobs()
    play.drop(play.drops.first)
    outcome = play.outcome(before, RETRAIN_SECONDS)
    _keep_decision(play, "v1", outcome)
    if not outcome.deployed:
        raise DemoFailed(f"The first model did not come into service: {outcome.decision['summary']}")
    model = play.document(f"model-artifacts/{outcome.job}/evaluation/evaluation.json") or {}
    play.narrator.say(
        f"v1 is in service: {outcome.numbers} on {model.get('images', '?')} frames of the frozen test set", "good"
    )
    play.row("flight lines 1", f"v1 approved and deployed, {outcome.numbers}", f"model-artifacts/{outcome.job}/")
    return outcome


def unseen_frames(play: Play, outcome: Outcome) -> list[Path]:
    """Frames that no model is ever trained on: some of the frozen test set, as the dataset's manifest names them.

    Neighbors overlap, and the drift detector is not to judge so little traffic from one place: every third will do.
    """
    manifest = play.document(f"processed-data/{outcome.decision['dataset_id']}/test.manifest")
    named = {Path(entry).stem for entry in manifest or [] if isinstance(entry, str)}
    found = [path for path in frames(play.drops.first) if sha256_of(path)[:16] in named]
    return found[::3]


def look(play: Play, act: str, version: str, paths: list[Path]) -> None:
    """Detections on frames never trained on, drawn over the boxes that are known for them."""
    boxes = known_boxes(play.drops.first)
    answers = play.detect(paths)
    there = sum(len(boxes[path.name]) for path in paths)
    hits = sum(found(answer.detections, boxes[answer.path.name]) for answer in answers)
    made = sum(len(answer.detections) for answer in answers)
    text = f"{version} finds {hits} of {there} trees on {len(paths)} frames it was never trained on, with {made} boxes"
    play.narrator.say(text, "good", "detect")
    shown = answers[:: max(1, len(answers) // SHOWN)][:SHOWN]
    drawn = [
        compared(detect.upright(answer.path.read_bytes()), answer.detections, boxes[answer.path.name])
        for answer in shown
    ]
    caption = f"{text}. Yellow: detections. White: boxes drawn by people."
    play.pictures.append(Picture(act, caption, sheet(drawn, 2)))
    play.row(f"{version} on unseen ground", f"{hits} of {there} trees found, {made} boxes", "demo-report/index.html")


def more_flights(play: Play) -> Outcome:
    """Flight lines 2 -> retrained from v1, compared with it; v2 in service, or refused with the numbers."""
    before = play.labeling_jobs()
    play.drop(play.drops.second)
    outcome = play.outcome(before, RETRAIN_SECONDS)
    _keep_decision(play, "v2", outcome)
    if outcome.deployed:
        said = f"v2 approved, canary, deployed: {outcome.numbers}"
        play.narrator.say(said, "good")
    elif outcome.approved:
        said = f"v2 approved but its deployment was rolled back: {outcome.numbers}; v1 still serves"
        play.narrator.say(said, "warning")
    else:
        said = f"refused, v1 still serves: {outcome.numbers}"
        play.narrator.say(f"{said}. {outcome.decision['summary']}", "warning")
    play.row("flight lines 2", said, f"model-artifacts/{outcome.job}/decision.json")
    return outcome


def scrambled_labels(play: Play) -> Outcome:
    """A batch with scrambled labels -> trained -> refused, the champion still serving."""
    play.narrator.act(ACT_SCRAMBLED)
    serving = snapshot.endpoint(play.cloud)
    before = play.labeling_jobs()
    boxes = known_boxes(play.drops.scrambled)
    shown = frames(play.drops.scrambled)[5::10][:SHOWN]
    images = [boxed(detect.upright(path.read_bytes()), boxes[path.name], "#ff375f") for path in shown]
    play.pictures.append(
        Picture(ACT_SCRAMBLED, "What the workers answered: every box about three times too large.", sheet(images, 4))
    )
    play.drop(play.drops.scrambled)
    outcome = play.outcome(before, RETRAIN_SECONDS)
    _keep_decision(play, "scrambled", outcome)
    now = snapshot.endpoint(play.cloud)
    if outcome.approved:
        said = f"the gate let it pass: {outcome.numbers}"
        play.narrator.say(f"{said}. The scrambled labels did not hurt enough to show on the test set.", "error")
    else:
        same = now.config == serving.config and now.status == "InService"
        said = f"refused: {outcome.numbers}; version {now.version} {'still serves' if same else 'is ' + now.status}"
        play.narrator.say(f"{said}. {outcome.decision['summary']}", "good" if same else "error")
    play.row("scrambled labels", said, f"model-artifacts/{outcome.job}/decision.json")
    return outcome


def other_sites(play: Play) -> None:
    """Traffic from other sites -> drift -> an alert reaches the subscriber -> those images head the queue."""
    play.narrator.act(ACT_DRIFT)
    received = len(play.subscriber.received)
    play.drop(play.drops.waiting, labeled=False)
    play.narrator.say("fewer than a batch: they wait in the labeling queue", stage="label")
    boxes = known_boxes(play.drops.visitors)
    paths = frames(play.drops.visitors)
    answers = play.detect(paths)
    made = sum(len(answer.detections) for answer in answers)
    play.narrator.say(f"{len(paths)} frames from OSBS and SOAP asked about, {made} boxes answered", stage="detect")
    drawn = [
        compared(detect.upright(answer.path.read_bytes()), answer.detections, boxes[answer.path.name])
        for answer in answers[:: max(1, len(answers) // SHOWN)][:SHOWN]
    ]
    play.pictures.append(
        Picture(ACT_DRIFT, "Frames from other sites: yellow what was found, white what is there.", sheet(drawn, 4))
    )

    def alerted(_: Snapshot) -> dict[str, object] | None:
        return next((alert for alert in play.subscriber.received[received:] if alert["event"] == "drift"), None)

    alert = play.follow(alerted, "the drift alert to reach its subscriber", DRIFT_SECONDS)
    play.narrator.say(f"the subscriber received: {alert['what']} {alert['why']}", "good", "alert")
    drift = snapshot.state_item(play.cloud, f"drift#{play.cloud.endpoint_name}")
    report = str(drift.get("report_key", ""))
    play.artifacts["What drifted, with pictures"] = report.removesuffix(".json") + ".html"
    play.row("traffic from other sites", "drift; the SNS alert reached its subscriber over HTTP", report)

    def queued(now: Snapshot) -> list[dict[str, object]] | None:
        waiting = snapshot.images(play.cloud, "PENDING", 100) or snapshot.images(play.cloud, "LABELING", 100)
        head = [item for item in waiting if str(item["flight"]).startswith("drift-")]
        return waiting if head and len(waiting) > len(head) else None

    waiting = play.follow(queued, "the drifted images to be catalogued", DRIFT_SECONDS)
    ahead = 0
    for item in waiting:
        if not str(item["flight"]).startswith("drift-"):
            break
        ahead += 1
    said = f"{ahead} drifted images head the labeling queue of {len(waiting)}"
    play.narrator.say(said, "good", "label")
    play.row("drifted images", said, str(waiting[0]["key"]).rpartition("/")[0] + "/")
    _show_queue(play, [str(item["key"]) for item in waiting[: SHOWN * 2]])


def _show_queue(play: Play, keys: list[str]) -> None:
    s3 = play.cloud.client("s3")
    images: list[Image.Image] = []
    for key in keys:
        body = s3.get_object(Bucket=play.cloud.bucket, Key=key)["Body"].read()
        image = detect.upright(body)
        image.thumbnail((220, 220))
        square = Image.new("RGB", (220, 220), "white")
        square.paste(image)
        images.append(square)
    play.pictures.append(Picture(ACT_DRIFT, "The head of the labeling queue now.", sheet(images, 4)))


def _keep_decision(play: Play, name: str, outcome: Outcome) -> None:
    folder = f"model-artifacts/{outcome.job}"
    play.artifacts[f"{name}: the gate's decision"] = f"{folder}/decision.json"
    play.artifacts[f"{name}: the evaluation"] = f"{folder}/evaluation/report.html"
    if dataset := outcome.decision.get("dataset_id"):
        play.artifacts[f"{name}: the dataset"] = f"processed-data/{dataset}/report.html"
