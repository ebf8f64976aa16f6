"""The whole loop, once, on the laptop cloud: real processes, real (small) training, role policies enforced, every
event delivered twice and one of each kind lost.

One test, told in the order of the story, because each step needs what the one before it left behind.
"""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from skyloop.documents import CatalogueItem

from cli.snapshot import IMAGE_STATUSES
from tests.loop.bad_drops import ODD_NAMES, unusable
from tests.loop.driver import Loop, overhead
from tests.support.flights import Flight, write_flight

pytestmark = [pytest.mark.loop, pytest.mark.timeout(3600)]

FLIGHTS, FRAMES = 5, 12
PARAMETERS = {
    "Epochs": 12,
    "ImageSize": 128,
    "BatchSize": 4,
    "LabelingQuietSeconds": 1,
    "LabelingMaxWaitHours": 24,
    "MinMap50": 0.05,
    "MaxMap50Drop": 0.5,
    "SweepRate": "rate(30 minutes)",  # the test sweeps by hand, when an event was lost
    "DriftRate": "rate(1 hour)",  # captures alone wake the detector
    "DriftWindow": 20,
}


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[Loop]:
    loop = Loop(tmp_path / "home")
    yield loop
    if (loop.home / "laptop.json").exists():
        loop.command("down")


def drop(loop: Loop, flight: Flight) -> dict[str, Any]:
    return loop.command("drop", flight.folder, "--labels", flight.annotations)


def told(loop: Loop, event: str, times: int = 1) -> list[dict[str, Any]]:
    """The alerts of one kind, once there are `times`; each says what, why, what was kept and what to do."""
    alerts = loop.wait(f"{times} alerts {event}", lambda: (found := loop.alerts(event))[times - 1 :] and found)
    assert len(alerts) == times, alerts
    for alert in alerts:
        assert all(alert[part].strip() for part in ("what", "why", "kept", "next_step", "correlation_id")), alert
    return alerts


def processes(home: Path) -> list[str]:
    """Command lines of the processes that belong to a home."""
    listed = subprocess.run(["ps", "-eww", "-o", "args="], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if str(home) in line and "pytest" not in line]


def test_the_whole_loop(loop: Loop, tmp_path: Path) -> None:
    images = FLIGHTS * FRAMES
    loop.up(**PARAMETERS, LabelingBatchSize=images + len(ODD_NAMES))
    cloud = loop.cloud
    alert_queue = subscribe(loop, {"event": ["drift"]})
    loop.faults(
        duplicate=True,
        lose=[
            "Object Created",
            "Images Catalogued",
            "SageMaker Ground Truth Labeling Job State Change",
            "SageMaker Model Package State Change",
        ],
    )

    # -- dropped: images, twice over, among files that only pretend -----------------------------------------------
    flights = [write_flight(tmp_path / f"line-{number}", FRAMES, seed=number) for number in range(FLIGHTS)]
    odd = write_flight(tmp_path / "odd", len(ODD_NAMES), seed=99, names=ODD_NAMES)
    bad = unusable(flights[0].images[0])
    for name, content in bad.items():
        (odd.folder / name).write_bytes(content)
    for flight in (odd, *flights):
        drop(loop, flight)
    total = images + len(ODD_NAMES) + len(bad)

    def catalogued() -> list[CatalogueItem]:
        return [entry for status in IMAGE_STATUSES for entry in loop.images(status)]

    loop.wait("all uploads but the lost one", lambda: len(catalogued()) == total - 1)
    assert "Object Created" in loop.lost()
    loop.sweep()
    loop.wait("the lost upload", lambda: len(catalogued()) == total)
    quarantined = {Path(entry.key).name: entry.reason for entry in loop.images("QUARANTINED")}
    assert set(quarantined) == set(bad)
    assert all(quarantined.values())
    shown = {Path(entry["key"]).name: entry["reason"] for entry in loop.command("status")["quarantined"]}
    assert shown == quarantined

    # -- labeled, trained, judged, registered, deployed, once each, though every event comes twice or never -----
    if not loop.jobs("list_labeling_jobs"):
        loop.sweep()
    job = loop.wait("the labeling job", lambda: loop.jobs("list_labeling_jobs"))[0]["LabelingJobName"]
    loop.wait("its end", lambda: loop.jobs("list_labeling_jobs")[0]["LabelingJobStatus"] == "Completed")
    loop.wait(
        "the labeling event to be lost", lambda: "SageMaker Ground Truth Labeling Job State Change" in loop.lost()
    )
    loop.sweep()
    loop.wait("the first package", loop.packages)
    loop.wait("the approval event to be lost", lambda: "SageMaker Model Package State Change" in loop.lost())
    assert loop.endpoint().status == "NotDeployed"
    loop.sweep()
    loop.wait("version 1 in service", loop.in_service(1))
    assert [item["LabelingJobName"] for item in loop.jobs("list_labeling_jobs")] == [job]
    assert [item["TrainingJobName"] for item in loop.jobs("list_training_jobs")] == [job]
    assert len(loop.executions("Retrain")) == len(loop.executions("Deploy")) == 1
    wall, _, rest = overhead(loop, job)
    print(f"retrain {wall:.1f} s, of which orchestration {rest:.1f} s")

    # One correlation id from the drop to the package, whose artifacts are those that were evaluated.
    package, deployed = loop.command("status")["packages"][0], the_alert(loop, "deployed")
    assert package["correlation_id"] == deployed["correlation_id"] != ""
    assert "could not be checked" not in deployed["what"]

    # -- dropping the same folders again changes nothing ----------------------------------------------------------
    before = catalogued()
    for flight in flights:
        assert drop(loop, flight)["uploaded"] == 0
    assert catalogued() == before

    # -- a second batch: compared with the champion, canaried -----------------------------------------------------
    loop.up(LabelingBatchSize=FRAMES, Epochs=2)  # warm from version 1
    drop(loop, write_flight(tmp_path / "line-20", FRAMES, seed=20))
    loop.wait("version 2 in service", loop.in_service(2))
    assert len(loop.executions("Retrain")) == len(loop.executions("Deploy")) == 2
    assert len(loop.jobs("list_training_jobs")) == len(loop.jobs("list_labeling_jobs")) == 2
    second = next(item for item in loop.executions("Retrain") if item.name != job).name
    decision = read_json(loop, f"model-artifacts/{second}/decision.json")
    assert decision["decision"] == "approve"
    assert decision["champion_map50"] is not None
    detections = loop.detect(flights[0].images[0])
    assert detections["image"] == {"width": 128, "height": 128}

    # -- by hand: back to version 1, and version 2 is not deployed again by the sweep ------------------------------
    loop.command("rollback")
    loop.wait("version 1 again", loop.in_service(1))
    told(loop, "rolled-back")
    loop.sweep()
    assert loop.in_service(1)()

    # -- a gate that refuses ---------------------------------------------------------------------------------------
    loop.up(MinMap50=0.999)
    drop(loop, write_flight(tmp_path / "line-30", FRAMES, seed=30, scrambled=True))
    refused = the_alert(loop, "gate-refused")
    assert "0.999" in refused["why"] or "0.999" in refused["what"]
    assert f"skyloop relabel {refused['subject']}" in refused["next_step"]
    assert loop.in_service(1)()

    # -- wrong labels are excluded and drawn again; then a training that fails ----------------------------------------
    loop.up(MinMap50=0.05, TrainingImageUri="000000000000.dkr.ecr.us-east-1.amazonaws.com/no-such-image:1")
    corrected = write_flight(tmp_path / "line-30", FRAMES, seed=30)
    assert drop(loop, corrected)["uploaded"] == 0
    loop.command("relabel", refused["subject"], "--reason", "the boxes were scrambled")
    failed = the_alert(loop, "training-failed")
    assert "no-such-image" in failed["why"]
    assert failed["subject"] != refused["subject"]
    dataset = read_json(loop, failed["links"]["dataset"].partition(f"{cloud.bucket}/")[2])
    assert refused["subject"] not in dataset["labeling_jobs"]
    assert failed["subject"] in dataset["labeling_jobs"]
    assert loop.in_service(1)()

    # -- an endpoint that never gets healthy -----------------------------------------------------------------------
    approve_a_broken_package(loop)
    broken = the_alert(loop, "deployment-failed")
    assert "health" in broken["why"].lower()
    assert loop.in_service(1)()
    assert loop.detect(flights[0].images[0])["detections"] is not None

    # -- traffic unlike the training images: one alert at a real subscriber, images at the head of the queue --------
    loop.up(LabelingBatchSize=1000)
    night = write_flight(tmp_path / "night", 30, seed=50, brightness=0.3)
    for image in night.images:
        loop.detect(image)
    drift = the_alert(loop, "drift")
    received = loop.wait("the subscriber's message", lambda: receive(loop, alert_queue))
    assert received["event"] == "drift"
    assert received["what"] == drift["what"]
    queue = loop.wait("drifted images in the queue", lambda: loop.images("PENDING"))
    assert queue[0].queue_order.startswith("0#")
    assert queue[0].key.startswith(f"raw-images/drift-{cloud.endpoint_name}-")

    # -- one alert for each thing that happened, none twice --------------------------------------------------------
    events = sorted(alert["event"] for alert in loop.alerts() if alert["event"] != "sweep-found")
    assert events == sorted(
        ["deployed", "deployed", "rolled-back", "gate-refused", "training-failed", "deployment-failed", "drift"]
        + [
            alert["event"]
            for alert in loop.alerts()
            if alert["event"] in {"images-quarantined", "dataset-insufficient"}
        ]
    )

    # -- stopped: nothing keeps running; started: it serves again --------------------------------------------------
    loop.command("down")
    assert processes(loop.home) == []
    loop.up()
    loop.wait("version 1 after a restart", loop.in_service(1))
    loop.detect(flights[0].images[0])


def the_alert(loop: Loop, event: str) -> dict[str, Any]:
    return told(loop, event)[0]


def read_json(loop: Loop, key: str) -> Any:
    return json.load(loop.cloud.client("s3").get_object(Bucket=loop.cloud.bucket, Key=key)["Body"])


def subscribe(loop: Loop, filter_policy: dict[str, list[str]]) -> str:
    """An SQS queue subscribed to the alert topic for some events; its URL."""
    sqs, sns = loop.cloud.client("sqs"), loop.cloud.client("sns")
    url = sqs.create_queue(QueueName="a-subscriber")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "sns.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": arn,
            }
        ],
    }
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
    sns.subscribe(
        TopicArn=loop.cloud.outputs["AlertTopicArn"],
        Protocol="sqs",
        Endpoint=arn,
        Attributes={"FilterPolicy": json.dumps(filter_policy), "RawMessageDelivery": "true"},
    )
    return url


def receive(loop: Loop, queue: str) -> dict[str, Any] | None:
    messages = loop.cloud.client("sqs").receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
    assert len(messages) < 2, messages
    return json.loads(messages[0]["Body"]) if messages else None


def approve_a_broken_package(loop: Loop) -> None:
    """Register, as a person might, an artifact that is no model and has no digest, and approve it."""
    cloud, sagemaker = loop.cloud, loop.cloud.client("sagemaker")
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo("readme.txt"), io.BytesIO())
    key = "model-artifacts/broken/model.tar.gz"
    cloud.client("s3").put_object(Bucket=cloud.bucket, Key=key, Body=archive.getvalue())
    good = next(item for item in loop.packages() if item["ModelPackageVersion"] == 1)
    described = sagemaker.describe_model_package(ModelPackageName=good["ModelPackageArn"])
    container = described["InferenceSpecification"]["Containers"][0]
    sagemaker.create_model_package(
        ModelPackageGroupName=cloud.outputs["ModelPackageGroupName"],
        ModelApprovalStatus="Approved",
        InferenceSpecification={
            **described["InferenceSpecification"],
            "Containers": [{"Image": container["Image"], "ModelDataUrl": f"s3://{cloud.bucket}/{key}"}],
        },
        CustomerMetadataProperties={
            "golden_predictions_uri": described["CustomerMetadataProperties"]["golden_predictions_uri"],
            "correlation_id": "broken-by-hand",
        },
    )
