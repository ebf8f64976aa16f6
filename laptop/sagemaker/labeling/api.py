"""Ground Truth labeling jobs of bounding boxes: Create, Describe, List, Stop, and the output manifest.

Formats: "Bounding box job output" and "Label adjustment job output" (developer guide, "Labeling job output data");
the rules of requests are those of CreateLabelingJob in the API reference. Answers come from `workforce.py`.
"""

from __future__ import annotations

import contextlib
import contextvars
import datetime as dt
import hashlib
import io
import json
import logging
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, NamedTuple

from PIL import Image

from laptop.sagemaker.core import errors, events, transfer
from laptop.sagemaker.core.context import Context
from laptop.sagemaker.core.resources import JobKind
from laptop.sagemaker.core.room import InProgress, Operations, Room
from laptop.sagemaker.core.store import Record
from laptop.sagemaker.labeling import rules, workforce
from laptop.sagemaker.labeling.known_boxes import KnownBoxes
from laptop.skyloop_plugin import LabeledBox

log = logging.getLogger(__name__)

_CHUNK = 64  # objects between two checks of the stop flag and two updates of the counters
_READERS = 4
_CLOSE_SECONDS = 5.0  # for the chunk in progress, when the cloud stops
_PAUSES = (1.0, 2.0, 4.0, 8.0)  # seconds between tries to read an image
_LOOK_AGAIN_SECONDS = 2  # between two checks whether boxes have become known for a job that no worker could do


class _Closing(Exception):
    """The cloud is stopping: the record stays as it is, and the next start of the cloud opens the job again."""


class Labeling(Room):
    """Labeling jobs, each answered in a thread of its own."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.kind = JobKind.of(
            context,
            "labeling",
            "LabelingJobSummaryList",
            lambda _, arn: errors.resource_not_found(f"The labeling job {arn} does not exist."),
        )
        self.closing = threading.Event()
        self._stopping: dict[str, threading.Event] = {}
        self._threads: dict[str, threading.Thread] = {}

    def create(self, request: Record) -> Record:
        """Give a job to the workforce. Raises ResourceInUse for a used name, ValidationException."""
        rules.check(self.context, request)
        record = self.kind.open({**request, "JobReferenceCode": uuid.uuid4().hex, "LabelCounters": _counters()})
        self._open(record["LabelingJobName"])
        return {"LabelingJobArn": record["LabelingJobArn"]}

    def describe(self, request: Record) -> Record:
        """The whole record."""
        return self.kind.describe(request)

    def list_jobs(self, request: Record) -> Record:
        """One page of summaries, filtered and sorted."""
        records = [
            {
                **record,
                "WorkteamArn": record["HumanTaskConfig"]["WorkteamArn"],
                "PreHumanTaskLambdaArn": record["HumanTaskConfig"]["PreHumanTaskLambdaArn"],
            }
            for record in self.kind.all()
        ]
        return self.kind.page(records, request)

    def stop_job(self, request: Record) -> Record:
        """Take the job back from the workforce; the answers until then are in the output manifest."""
        name = self.kind.stop(request, lambda name: self.update(name, LabelingJobStatus="Stopping"))
        if flag := self._stopping.get(name):
            flag.set()
        return {}

    def in_progress(self) -> list[InProgress]:
        """The jobs that the workforce has."""
        return [InProgress("labeling job", name, "is open again") for name in list(self._stopping)]

    def start(self) -> None:
        """Open the jobs again that were open when the cloud stopped: a workforce does not lose its tasks."""
        for record in self.kind.unfinished():
            self._open(record["LabelingJobName"], stopped=record["LabelingJobStatus"] == "Stopping")

    def stop(self) -> None:
        """Leave the jobs as they are, for the next start."""
        self.closing.set()
        for flag in list(self._stopping.values()):
            flag.set()
        for thread in list(self._threads.values()):
            thread.join(timeout=_CLOSE_SECONDS)

    def update(self, name: str, **fields: Any) -> Record:
        """Set fields of a job's record."""
        return self.kind.update(name, {**fields, "LastModifiedTime": time.time()})

    def _open(self, name: str, stopped: bool = False) -> None:
        flag = self._stopping[name] = threading.Event()
        if stopped:
            flag.set()
        run = contextvars.copy_context().run
        self._threads[name] = threading.Thread(
            target=run, args=(self._run, name, flag), name=f"labeling-job/{name}", daemon=True
        )
        self._threads[name].start()

    def _run(self, name: str, stopping: threading.Event) -> None:
        with self.context.store.insisting():
            try:
                status = _Task(self, self.kind.get(name), stopping).work()
                reason = None
            except _Closing:
                return
            except (transfer.TransferError, ValueError) as failure:
                status, reason = "Failed", f"ClientError: {failure}"
            except Exception as error:
                log.exception("labeling job %s broke the local SageMaker", name)
                status, reason = "Failed", f"InternalServerError: We encountered an internal error. ({error})"
            finally:
                self._stopping.pop(name, None)
                self._threads.pop(name, None)
            record = self.update(name, LabelingJobStatus=status, **({"FailureReason": reason[:1024]} if reason else {}))
        events.emit(
            self.context,
            "SageMaker Ground Truth Labeling Job State Change",
            {"LabelingJobStatus": status},
            record["LabelingJobArn"],
        )

    OPERATIONS: ClassVar[Operations] = {
        "CreateLabelingJob": create,
        "DescribeLabelingJob": describe,
        "ListLabelingJobs": list_jobs,
        "StopLabelingJob": stop_job,
    }


class _Shown(NamedTuple):
    """A picture as its pixels are stored: workers see them as they lie in the file, unrotated."""

    size: tuple[int, int, int]
    """Width, height, number of bands."""
    sha256: str


class _Task:
    """One run over one input manifest."""

    def __init__(self, room: Labeling, record: Record, stopping: threading.Event) -> None:
        self._room = room
        self._record = record
        self._stopping = stopping
        self._attribute = record["LabelAttributeName"]
        self._settings = workforce.Settings.read(room.context.settings("workforce"))
        # The manifest, the images and the output go through the job's role, as on AWS; the workers' knowledge does not.
        self._s3 = room.context.client("s3", record["RoleArn"])
        self._known: dict[str, KnownBoxes] = {}
        config = json.loads(transfer.read(self._s3, record["LabelCategoryConfigS3Uri"]))
        self._categories = [item["label"] for item in config["labels"]]
        self._audited = config.get("auditLabelAttributeName") if rules.is_adjustment(record) else None

    def work(self) -> str:
        """Answer, write the output manifest, and return the terminal status.

        Raises TransferError, and ValueError for a manifest that cannot be read.
        """
        source = self._record["InputConfig"]["DataSource"]["S3DataSource"]["ManifestS3Uri"]
        lines = rules.parse_manifest(transfer.read(self._s3, source).decode("utf-8"))
        counters = _counters(Unlabeled=len(lines))
        self._room.update(self._record["LabelingJobName"], LabelCounters=counters)
        self._stopping.wait(self._settings.answer_delay)
        while not self._can_be_answered(lines) and not self._stopping.wait(_LOOK_AGAIN_SECONDS):
            pass
        self._check_closing()
        limit, stopped = self._limit(len(lines)), self._stopping.is_set()
        with ThreadPoolExecutor(_READERS) as pool:
            for start in range(0, len(lines), _CHUNK):
                self._check_closing()
                if stopped := self._stopping.is_set():
                    break
                if counters["TotalLabeled"] >= limit:
                    break
                chunk = lines[start : start + min(_CHUNK, limit - counters["TotalLabeled"])]
                for line, label in zip(chunk, pool.map(self._label, chunk), strict=True):
                    counters["Unlabeled"] -= 1
                    if label is None:
                        counters["FailedNonRetryableError"] += 1
                    else:
                        line.update(label)
                        counters["HumanLabeled"] += 1
                        counters["TotalLabeled"] += 1
                self._room.update(self._record["LabelingJobName"], LabelCounters=counters)
        self._check_closing()
        output = self._write(lines)
        self._room.update(self._record["LabelingJobName"], LabelingJobOutput={"OutputDatasetS3Uri": output})
        # Not the flag: a stop that comes when everything is answered stops nothing.
        return "Stopped" if stopped or counters["Unlabeled"] else "Completed"

    def _check_closing(self) -> None:
        if self._room.closing.is_set():
            raise _Closing

    def _limit(self, total: int) -> int:
        conditions = self._record.get("StoppingConditions", {})
        share = int(conditions.get("MaxPercentageOfInputDatasetLabeled", 100))
        return min(int(conditions.get("MaxHumanLabeledObjectCount", total)), total * share // 100, total)

    def _label(self, line: Record) -> Record | None:
        """The attribute and its metadata for one object; None without an answer, or when its image cannot be shown."""
        if self._attribute in line:
            return {}  # labeled by an earlier job of the chain
        uri = line["source-ref"]
        shown = self._show(uri)
        known = self._boxes(uri, shown.sha256) if shown else None
        if shown is None or known is None or not workforce.is_answered(uri, self._settings):
            return None
        width, height, depth = shown.size
        answers = [
            workforce.answer(known, worker, uri, (width, height), self._categories, self._settings)
            for worker in range(self._record["HumanTaskConfig"]["NumberOfHumanWorkersPerDataObject"])
        ]
        agreed = workforce.consolidate(answers)
        classes = sorted({self._categories.index(drawn.category) for drawn, _ in agreed})
        label = {
            "image_size": [{"width": width, "height": height, "depth": depth}],
            "annotations": [
                {
                    "class_id": self._categories.index(drawn.category),
                    "left": drawn.box.left,
                    "top": drawn.box.top,
                    "width": drawn.box.width,
                    "height": drawn.box.height,
                }
                for drawn, _ in agreed
            ],
        }
        metadata = {
            "objects": [{"confidence": confidence} for _, confidence in agreed],
            "class-map": {str(index): self._categories[index] for index in classes},
            "type": "groundtruth/object-detection",
            "human-annotated": "yes",
            "creation-date": dt.datetime.now(dt.UTC).replace(tzinfo=None).isoformat(timespec="microseconds"),
            "job-name": f"labeling-job/{self._record['LabelingJobName']}",
        }
        if self._audited:
            before = line.get(self._audited, {}).get("annotations")
            metadata["adjustment-status"] = "unadjusted" if before == label["annotations"] else "adjusted"
        return {self._attribute: label, f"{self._attribute}-metadata": metadata}

    def _show(self, uri: str) -> _Shown | None:
        """What workers see of an image; None when it cannot be shown."""
        try:
            body = self._read(uri)
            with Image.open(io.BytesIO(body)) as image:
                size = image.width, image.height, len(image.getbands())
            return _Shown(size, hashlib.sha256(body).hexdigest())
        except transfer.TransferError as error:
            if not isinstance(error, transfer.Unavailable | transfer.Missing):
                raise  # no permission: of the job, and not of this image
            log.info("Ground Truth cannot show %s: %s", uri, error)
            return None
        except Exception as error:  # Pillow raises anything for what is no picture; it is this image's alone
            log.info("Ground Truth cannot show %s: %s", uri, error)
            return None

    def _read(self, uri: str) -> bytes:
        for pause in _PAUSES:
            with contextlib.suppress(transfer.Unavailable):
                return transfer.read(self._s3, uri)
            self._stopping.wait(pause)
        return transfer.read(self._s3, uri)

    def _can_be_answered(self, lines: list[Record]) -> bool:
        """Whether there is anything to answer.

        Tasks that no worker can do stay open, as they would on AWS: boxes may become known later, and images sent back
        unlabeled at once would only be asked about again.
        """
        self._known.clear()
        return not lines or any(
            self._attribute in line or self._boxes(line["source-ref"], line.get("image-id")) is not None
            for line in lines
        )

    def _boxes(self, uri: str, content: str | None) -> list[LabeledBox] | None:
        bucket, key = transfer.split(uri)
        if bucket not in self._known:
            self._known[bucket] = KnownBoxes(self._room.context.client("s3"), bucket)
        return self._known[bucket].of(key, content)

    def _write(self, lines: list[Record]) -> str:
        name = self._record["LabelingJobName"]
        base = self._record["OutputConfig"]["S3OutputPath"].rstrip("/")
        uri = f"{base}/{name}/manifests/output/output.manifest"
        text = "".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines)
        transfer.write(self._s3, uri, text.encode("utf-8"))
        return uri


def _counters(**given: int) -> Record:
    zero = {"TotalLabeled": 0, "HumanLabeled": 0, "MachineLabeled": 0, "FailedNonRetryableError": 0, "Unlabeled": 0}
    return {**zero, **given}
