"""Labeling jobs: the output manifest as Ground Truth writes it, answered by a workforce that errs by its settings."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from PIL import Image

from tests.conformance.conftest import settings_file, wait_until

Request = Callable[..., dict[str, Any]]
SETTINGS = ("error_rate", "jitter", "wrong_class_rate", "unanswered_rate", "answer_delay", "seed")


@pytest.fixture
def workforce(sagemaker: Any) -> Iterator[Callable[..., None]]:
    """Set how the workers err; forgotten after the test."""
    file = sagemaker.cloud.home / "workforce.json"
    file.unlink(missing_ok=True)

    def configure(**settings: Any) -> None:
        settings_file(sagemaker.cloud, "workforce", settings)

    yield configure
    file.unlink(missing_ok=True)


def picture(size: tuple[int, int] = (200, 100), mode: str = "RGB", orientation: int | None = None) -> bytes:
    buffer = io.BytesIO()
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    Image.new(mode, size, 90).save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


class Flight:
    """Images under raw-images/<flight>/ and what is known about them."""

    def __init__(self, sagemaker: Any) -> None:
        self.sagemaker = sagemaker
        self.name = sagemaker.cloud.name("flight")
        self.coco: dict[str, list[dict[str, Any]]] = {
            "categories": [{"id": 7, "name": "car"}, {"id": 3, "name": "tree"}, {"id": 9, "name": "person"}],
            "images": [],
            "annotations": [],
        }

    def drop(
        self,
        path: str,
        boxes: list[tuple[str, list[float]]] | None = (),
        *,
        file_name: str | None = None,
        body: bytes | None = None,
    ) -> dict[str, str]:
        """Put an image and tell its boxes (None: nothing is known); returns its manifest line."""
        uri = self.sagemaker.put(f"raw-images/{self.name}/{path}", body if body is not None else picture())
        if boxes is not None:
            number = len(self.coco["images"]) + 1
            self.coco["images"].append({"id": number, "file_name": file_name or path, "width": 200, "height": 100})
            for label, box in boxes:
                category = next(item["id"] for item in self.coco["categories"] if item["name"] == label)
                known = {"id": len(self.coco["annotations"]), "image_id": number, "category_id": category, "bbox": box}
                self.coco["annotations"].append(known)
        return {"source-ref": uri, "image-id": path, "flight": self.name}

    def publish(self) -> None:
        self.sagemaker.put(f"ground-truth-jobs/known-boxes/{self.name}.json", json.dumps(self.coco))


@pytest.fixture
def flight(sagemaker: Any) -> Flight:
    return Flight(sagemaker)


def run(sagemaker: Any, request: dict[str, Any]) -> dict[str, Any]:
    sagemaker.api.create_labeling_job(**request)

    def ended() -> dict[str, Any] | None:
        job = sagemaker.api.describe_labeling_job(LabelingJobName=request["LabelingJobName"])
        return job if job["LabelingJobStatus"] in ("Completed", "Failed", "Stopped") else None

    return wait_until(ended, what=f"the end of {request['LabelingJobName']}")


def output(sagemaker: Any, job: dict[str, Any]) -> list[dict[str, Any]]:
    text = sagemaker.read(job["LabelingJobOutput"]["OutputDatasetS3Uri"]).decode("utf-8")
    return [json.loads(line) for line in text.rstrip("\n").split("\n")]


def boxes(line: dict[str, Any]) -> list[tuple[int, int, int, int, int]]:
    return [
        tuple(box[k] for k in ("class_id", "left", "top", "width", "height")) for box in line["boxes"]["annotations"]
    ]


@pytest.mark.usefixtures("workforce")
def test_a_line_is_exactly_ground_truths(sagemaker: Any, flight: Flight, labeling_request: Request) -> None:
    line = flight.drop(
        "a b/1+2 ä\u2028.jpg", [("car", [10.4, 20.6, 30, 40]), ("person", [0, 0, 5, 5]), ("tree", [1, 2, 3, 4])]
    )
    flight.publish()
    line["captured"] = {"by": "drone"}
    request = labeling_request([line], categories=["tree", "car"])
    job = run(sagemaker, request)
    assert job["LabelingJobStatus"] == "Completed"
    name = request["LabelingJobName"]
    uri = f"s3://{sagemaker.bucket}/ground-truth-jobs/{name}/manifests/output/output.manifest"
    assert job["LabelingJobOutput"] == {"OutputDatasetS3Uri": uri}
    (written,) = output(sagemaker, job)
    metadata = written["boxes-metadata"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}", metadata.pop("creation-date"))
    assert written == {
        **line,
        "boxes": {
            "image_size": [{"width": 200, "height": 100, "depth": 3}],
            # The person is no category of this job; 10.4+30 and 20.6+40 round to the right and lower edges 40 and 61.
            "annotations": [
                {"class_id": 1, "left": 10, "top": 21, "width": 30, "height": 40},
                {"class_id": 0, "left": 1, "top": 2, "width": 3, "height": 4},
            ],
        },
        "boxes-metadata": {
            "objects": [{"confidence": 0.0}, {"confidence": 0.0}],
            "class-map": {"0": "tree", "1": "car"},
            "type": "groundtruth/object-detection",
            "human-annotated": "yes",
            "job-name": f"labeling-job/{name}",
        },
    }
    assert list(written) == ["source-ref", "image-id", "flight", "captured", "boxes", "boxes-metadata"]
    assert "ä" in sagemaker.read(uri).decode("utf-8"), "raw UTF-8, not escaped"


@pytest.mark.usefixtures("workforce")
def test_what_nobody_can_answer_is_written_back_unchanged(
    sagemaker: Any, flight: Flight, labeling_request: Request
) -> None:
    lines = [
        flight.drop("seen.jpg", [("car", [1, 1, 10, 10])]),
        flight.drop("empty.jpg", []),
        flight.drop("unknown.jpg", None),
        flight.drop("broken.jpg", [("car", [1, 1, 10, 10])], body=b"no image at all"),
        {"source-ref": f"s3://{sagemaker.bucket}/raw-images/{flight.name}/gone.jpg", "image-id": "gone"},
        {"source-ref": f"s3://{sagemaker.bucket}/elsewhere.jpg"},
    ]
    flight.publish()
    job = run(sagemaker, labeling_request(lines))
    written = output(sagemaker, job)
    assert [line["source-ref"] for line in written] == [line["source-ref"] for line in lines]
    assert len(boxes(written[0])) == 1
    assert written[1]["boxes"]["annotations"] == []
    assert written[1]["boxes-metadata"]["class-map"] == {}
    assert written[1]["boxes-metadata"]["objects"] == []
    assert written[2:] == lines[2:]
    assert job["LabelingJobStatus"] == "Completed"
    assert job["LabelCounters"] == {
        "TotalLabeled": 2,
        "HumanLabeled": 2,
        "MachineLabeled": 0,
        "FailedNonRetryableError": 4,
        "Unlabeled": 0,
    }


@pytest.mark.usefixtures("workforce")
def test_known_boxes_are_found_by_path_or_unique_name(
    sagemaker: Any, flight: Flight, labeling_request: Request
) -> None:
    one = [("car", [1, 1, 10, 10])]
    lines = [
        flight.drop("deep/nested.jpg", one, file_name="nested.jpg"),
        flight.drop("prefixed.jpg", one, file_name=f"raw-images/{flight.name}/prefixed.jpg"),
        flight.drop("windows/path.jpg", one, file_name="windows\\path.jpg"),
        flight.drop("flat.jpg", one, file_name="images/flat.jpg"),
        flight.drop("x/same.jpg", one, file_name="x/same.jpg"),
        flight.drop("y/same.jpg", None),
    ]
    flight.publish()
    written = output(sagemaker, run(sagemaker, labeling_request(lines)))
    assert ["boxes" in line for line in written] == [True, True, True, True, True, False]


@pytest.mark.usefixtures("workforce")
def test_workers_see_the_stored_pixels(sagemaker: Any, flight: Flight, labeling_request: Request) -> None:
    turned = flight.drop("turned.jpg", [("car", [150, 50, 100, 100])], body=picture((200, 100), orientation=6))
    gray = flight.drop("gray.jpg", [], body=picture((64, 32), mode="L"))
    flight.publish()
    first, second = output(sagemaker, run(sagemaker, labeling_request([turned, gray])))
    assert first["boxes"]["image_size"] == [{"width": 200, "height": 100, "depth": 3}]
    assert boxes(first) == [(1, 150, 50, 50, 50)], "cut at the image's edge"
    assert second["boxes"]["image_size"] == [{"width": 64, "height": 32, "depth": 1}]


def test_workers_err_as_told_and_the_same_way_again(
    sagemaker: Any, flight: Flight, labeling_request: Request, workforce: Callable[..., None]
) -> None:
    known = [("car", [x, y, 8, 8]) for x in range(0, 190, 10) for y in range(0, 90, 10)]
    line = flight.drop("field.jpg", known)
    flight.publish()

    def answers() -> list[tuple[int, int, int, int, int]]:
        return boxes(output(sagemaker, run(sagemaker, labeling_request([line])))[0])

    truth = answers()
    assert len(truth) == len(known)
    workforce(error_rate=0.2, seed=1)
    missed = answers()
    assert set(missed) < set(truth)
    assert 0.1 < 1 - len(missed) / len(truth) < 0.3
    assert answers() == missed, "the same seed, the same answers"
    workforce(error_rate=0.2, seed=2)
    assert answers() != missed
    workforce(error_rate=0.0, jitter=2.0)
    moved = answers()
    assert len(moved) == len(truth)
    assert moved != truth
    for before, after in zip(truth, moved, strict=True):
        assert all(abs(a - b) <= 4 for a, b in zip(before, after, strict=True))
    workforce(jitter=0.0, wrong_class_rate=0.3)
    confused = answers()
    assert [box[1:] for box in confused] == [box[1:] for box in truth]
    assert 0.15 < sum(box[0] == 0 for box in confused) / len(truth) < 0.45


def test_several_workers_agree_on_one_answer(
    sagemaker: Any, flight: Flight, labeling_request: Request, workforce: Callable[..., None]
) -> None:
    known = [("car", [x, 10, 20, 20]) for x in range(0, 180, 30)]
    line = flight.drop("row.jpg", known)
    flight.publish()
    (agreed,) = output(sagemaker, run(sagemaker, labeling_request([line], workers=3)))
    assert len(boxes(agreed)) == len(known)
    assert [item["confidence"] for item in agreed["boxes-metadata"]["objects"]] == [1.0] * len(known)
    workforce(jitter=3.0, error_rate=0.1)
    (worn,) = output(sagemaker, run(sagemaker, labeling_request([line], workers=5)))
    confidences = [item["confidence"] for item in worn["boxes-metadata"]["objects"]]
    assert len(confidences) == len(boxes(worn))
    assert all(0.3 < confidence < 1 for confidence in confidences)


def test_tasks_can_expire(
    sagemaker: Any, flight: Flight, labeling_request: Request, workforce: Callable[..., None]
) -> None:
    lines = [flight.drop("1.jpg", [("car", [1, 1, 10, 10])])]
    flight.publish()
    workforce(unanswered_rate=1.0)
    job = run(sagemaker, labeling_request(lines))
    assert output(sagemaker, job) == lines
    assert job["LabelCounters"]["FailedNonRetryableError"] == 1


@pytest.mark.usefixtures("workforce")
def test_a_chain_passes_labels_on_and_can_adjust_them(
    sagemaker: Any, flight: Flight, labeling_request: Request
) -> None:
    line = flight.drop("1.jpg", [("car", [1, 1, 10, 10])])
    flight.publish()
    (first,) = output(sagemaker, run(sagemaker, labeling_request([line])))
    (again,) = output(sagemaker, run(sagemaker, labeling_request([first])))
    assert again == first, "labeled already under this attribute"
    first["boxes"]["annotations"][0]["left"] = 3
    request = labeling_request([first, again], LabelAttributeName="adjusted-boxes")
    task = request["HumanTaskConfig"]
    lambdas = "arn:aws:lambda:us-east-1:432418664414:function:"
    task["PreHumanTaskLambdaArn"] = f"{lambdas}PRE-AdjustmentBoundingBox"
    task["AnnotationConsolidationConfig"] = {"AnnotationConsolidationLambdaArn": f"{lambdas}ACS-AdjustmentBoundingBox"}
    config = {
        "document-version": "2018-11-28",
        "labels": [{"label": "tree"}, {"label": "car"}],
        "auditLabelAttributeName": "boxes",
    }
    request["LabelCategoryConfigS3Uri"] = sagemaker.put(f"{flight.name}/audit.json", json.dumps(config))
    adjusted, kept = output(sagemaker, run(sagemaker, request))
    assert adjusted["boxes"] == first["boxes"]
    assert adjusted["adjusted-boxes"]["annotations"][0]["left"] == 1
    assert adjusted["adjusted-boxes-metadata"]["adjustment-status"] == "adjusted"
    assert kept["adjusted-boxes-metadata"]["adjustment-status"] == "unadjusted"


@pytest.mark.parametrize(
    "manifest",
    ["\n", "not json\n", '{"source": "text"}\n', '{"source-ref": "raw-images/1.jpg"}\n', "[1]\n"],
    ids=["empty", "not json", "text", "no address", "a list"],
)
@pytest.mark.usefixtures("workforce")
def test_a_bad_manifest_fails_the_job_and_says_so(sagemaker: Any, labeling_request: Request, manifest: str) -> None:
    job = run(sagemaker, labeling_request(manifest))
    assert job["LabelingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("ClientError: ")
    assert "LabelingJobOutput" not in job


def test_a_job_can_be_stopped(
    sagemaker: Any, flight: Flight, labeling_request: Request, workforce: Callable[..., None]
) -> None:
    workforce(answer_delay=600)
    line = flight.drop("1.jpg", [("car", [1, 1, 10, 10])])
    flight.publish()
    request = labeling_request([line])
    name = request["LabelingJobName"]
    sagemaker.api.create_labeling_job(**request)
    wait_until(lambda: sagemaker.api.describe_labeling_job(LabelingJobName=name)["LabelCounters"]["Unlabeled"] == 1)
    sagemaker.api.stop_labeling_job(LabelingJobName=name)

    def stopped() -> dict[str, Any] | None:
        job = sagemaker.api.describe_labeling_job(LabelingJobName=name)
        return job if job["LabelingJobStatus"] == "Stopped" else None

    job = wait_until(stopped)
    assert output(sagemaker, job) == [line]
    assert job["LabelCounters"]["Unlabeled"] == 1


def test_a_stopping_condition_ends_the_job(sagemaker: Any, flight: Flight, labeling_request: Request) -> None:
    lines = [flight.drop(f"{number}.jpg", []) for number in range(4)]
    flight.publish()
    job = run(sagemaker, labeling_request(lines, StoppingConditions={"MaxHumanLabeledObjectCount": 3}))
    assert job["LabelingJobStatus"] == "Stopped"
    assert ["boxes" in line for line in output(sagemaker, job)] == [True, True, True, False]


@pytest.mark.parametrize(("manifest", "status"), [(None, "Completed"), ("broken\n", "Failed")])
@pytest.mark.usefixtures("workforce")
def test_the_end_raises_an_event_that_says_only_the_status(
    sagemaker: Any, flight: Flight, labeling_request: Request, manifest: str | None, status: str
) -> None:
    known = [flight.drop("empty.jpg", [])]
    flight.publish()
    job = run(sagemaker, labeling_request(manifest or known))
    (event,) = wait_until(
        lambda: sagemaker.events(job["LabelingJobArn"], "SageMaker Ground Truth Labeling Job State Change")
    )
    assert event["detail"] == {"LabelingJobStatus": status}
    assert event["source"] == "aws.sagemaker"


@pytest.mark.usefixtures("workforce")
def test_jobs_are_listed(sagemaker: Any, flight: Flight, labeling_request: Request) -> None:
    lines = [flight.drop("empty.jpg", [])]
    flight.publish()
    request = labeling_request(lines, Tags=[{"Key": "CorrelationId", "Value": "flight-1"}])
    job = run(sagemaker, request)
    assert job["Tags"] == [{"Key": "CorrelationId", "Value": "flight-1"}]
    listed = sagemaker.api.list_labeling_jobs(NameContains=request["LabelingJobName"], StatusEquals="Completed")
    (summary,) = listed["LabelingJobSummaryList"]
    assert summary["LabelingJobName"] == request["LabelingJobName"]
    assert summary["WorkteamArn"] == request["HumanTaskConfig"]["WorkteamArn"]
    assert summary["LabelCounters"] == job["LabelCounters"]
    assert summary["InputConfig"] == request["InputConfig"]
    assert summary["LabelingJobOutput"] == job["LabelingJobOutput"]


@pytest.mark.usefixtures("workforce")
def test_a_job_that_nobody_can_do_stays_open_until_its_images_are_known(
    sagemaker: Any, flight: Flight, labeling_request: Request
) -> None:
    body = picture((96, 64))
    again = flight.drop("sent-back.jpg", None, body=body)
    again["image-id"] = hashlib.sha256(body).hexdigest()
    request = labeling_request([again])
    sagemaker.api.create_labeling_job(**request)

    def described() -> dict[str, Any]:
        return sagemaker.api.describe_labeling_job(LabelingJobName=request["LabelingJobName"])

    wait_until(lambda: described()["LabelCounters"]["Unlabeled"] == 1)
    assert described()["LabelingJobStatus"] == "InProgress"
    known = Flight(sagemaker)  # the same image, dropped with its boxes under another key
    known.drop("first.jpg", [("car", [1, 1, 10, 10])], body=body)
    known.coco["images"][0]["sha256"] = again["image-id"]
    known.publish()
    wait_until(lambda: described()["LabelingJobStatus"] == "Completed")
    (line,) = output(sagemaker, described())
    assert len(boxes(line)) == 1
