"""All labels together become one versioned dataset with a report."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from pydantic import TypeAdapter

from skyloop import layout
from skyloop.aws.catalogue import Catalogue
from skyloop.aws.settings import Settings
from skyloop.aws.state import StateTable
from skyloop.aws.storage import ObjectMissing, Storage
from skyloop.dataset.checks import blocking_findings, check_dataset
from skyloop.dataset.dataset import Dataset, build_dataset, dataset_manifest, frames_of, newest_labels
from skyloop.dataset.report import Example, example_pictures, render_dataset_report
from skyloop.dataset.splits import Frame, SplitPlan, block_names, flight_names, plan_splits
from skyloop.documents import SPLITS, AssembleRequest, AssembleResponse, DatasetDocument, JsonObject, LabeledImage
from skyloop.formats.groundtruth import categories_of

PARALLEL_READS = 16

_RECORD = TypeAdapter(tuple[LabeledImage, ...])
"""One of a labeling job's records: the pictures of one converted batch."""


class Assembly:
    """Joins bucket, catalogue and state table to assemble a dataset."""

    def __init__(self, storage: Storage, catalogue: Catalogue, state: StateTable, settings: Settings) -> None:
        self.storage = storage
        self.catalogue = catalogue
        self.state = state
        self.settings = settings

    def assemble(self, request: AssembleRequest) -> AssembleResponse:
        """Assemble the dataset of everything labeled so far. The same labels give the same dataset again.

        Splits are frozen only when the dataset is fit to train on: until then, more flights may still be split better.
        """
        self._requeue_the_rest(request.labeling_job_name)
        categories = categories_of(self.storage.read_json(layout.LABEL_CATEGORIES))
        pictures = newest_labels(self._records())
        frames = frames_of(pictures)
        while True:
            split_plan = plan_splits(frames, self._frozen(frames))
            dataset = build_dataset(pictures, split_plan, categories)
            checks = check_dataset(dataset, self.settings.min_train_images, request.labeling_job_name)
            blocking = blocking_findings(checks)
            # Another execution may freeze a group between this read and this write. Its item stays, so plan again.
            if blocking or self._freeze(split_plan):
                break
        document = DatasetDocument(
            dataset_id=dataset.dataset_id,
            created_at=request.now,
            labeling_job=request.labeling_job_name,
            labeling_jobs=dataset.labeling_jobs,
            correlation_id=request.correlation_id,
            categories=categories,
            counts=dataset.counts,
            class_boxes=dataset.class_boxes,
            groups=split_plan.groups,
            guard_images=len(split_plan.guards),
            test_set_id=dataset.test_set_id,
            checks=checks,
        )
        answer = self._write(dataset, document)
        if blocking:
            reason = "; ".join(finding.message for finding in blocking)
            return answer.model_copy(update={"decision": "insufficient", "reason": reason})
        return answer

    def _requeue_the_rest(self, job_name: str) -> None:
        """Requeue images that the job has claimed but that are on no line of its output."""
        for item in list(self.catalogue.of_job(job_name)):
            self.catalogue.requeue_unlabeled(item.image_id, job_name)

    def _records(self) -> Iterator[LabeledImage]:
        """Every labeled picture of every job that is not excluded. Only the folders of records are listed."""
        with ThreadPoolExecutor(PARALLEL_READS) as pool:
            folders = self.storage.folders(layout.LABELED_DATA)
            jobs = [folder.removeprefix(layout.LABELED_DATA).rstrip("/") for folder in folders]
            exclusions = pool.map(lambda job: self.storage.read_json_if_there(layout.exclusion_key(job)), jobs)
            record_keys = [
                summary.key
                for job, exclusion in zip(jobs, exclusions, strict=True)
                if exclusion is None
                for summary in self.storage.listing(layout.label_records(job))
            ]
            for record in pool.map(self.storage.read_json, record_keys):
                yield from _RECORD.validate_python(record)

    def _frozen(self, frames: list[Frame]) -> dict[str, JsonObject]:
        flights = self._split_items(flight_names(frames))
        return flights | self._split_items(block_names(frames, flights))

    def _split_items(self, names: list[str]) -> dict[str, JsonObject]:
        found = self.state.get_many(layout.SPLIT_ITEMS + name for name in names)
        return {name.removeprefix(layout.SPLIT_ITEMS): item for name, item in found.items()}

    def _freeze(self, split_plan: SplitPlan) -> bool:
        """Write the plan's new groups. False: another execution has frozen one of them."""
        return all(self.state.put_if_absent(layout.SPLIT_ITEMS + name, item) for name, item in split_plan.new.items())

    def _write(self, dataset: Dataset, document: DatasetDocument) -> AssembleResponse:
        files = layout.DatasetFiles(document.dataset_id)
        manifests = {
            split: self.storage.write_json(
                files.manifest(split), dataset_manifest(self.storage.bucket, dataset.pictures[split])
            )
            for split in SPLITS
        }
        page = render_dataset_report(document, dataset, self._examples(dataset)).encode()
        report_uri = self.storage.write(files.report, page, content_type="text/html; charset=utf-8")
        # Last: where there is a dataset.json, the dataset is complete.
        dataset_uri = self.storage.write_json(files.document, document.plain())
        counts = dataset.counts
        return AssembleResponse(
            decision="train",
            reason=f"{counts['train'].images} pictures with {counts['train'].boxes} boxes to train on",
            dataset_id=document.dataset_id,
            dataset_uri=dataset_uri,
            train_manifest_uri=manifests["train"],
            validation_manifest_uri=manifests["validation"],
            test_manifest_uri=manifests["test"],
            report_uri=report_uri,
            categories=document.categories,
            counts=counts,
            test_set_id=document.test_set_id,
        )

    def _examples(self, dataset: Dataset) -> list[Example]:
        examples = []
        for split, picture in example_pictures(dataset):
            try:
                body = self.storage.read(picture.image_key).body
            except ObjectMissing:
                continue
            examples.append(Example.of(split, picture, body))
        return examples
