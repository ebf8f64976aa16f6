"""All labels together become one versioned dataset with a report."""

from __future__ import annotations

import gzip
import json
from contextlib import ExitStack

from skyloop import layout
from skyloop.aws.catalogue import Catalogue
from skyloop.aws.settings import Settings
from skyloop.aws.state import StateTable
from skyloop.aws.storage import Storage, s3_uri
from skyloop.dataset.checks import blocking_findings, check_dataset, notes_of
from skyloop.dataset.conversion import Conversion
from skyloop.dataset.dataset import NewestLabels, Tally, dataset_line
from skyloop.dataset.labels import Labels
from skyloop.dataset.report import Example, render_dataset_report
from skyloop.dataset.splits import Frame, SplitPlan, block_names, flight_names, plan_splits
from skyloop.documents import SPLITS, AssembleRequest, AssembleResponse, DatasetDocument, JsonObject
from skyloop.formats.groundtruth import categories_of

MOST_EXAMPLE_PIXELS = 40_000_000
"""Of a picture in the report: a larger one would take more memory to shrink than the function has beside the labels."""


class Assembly:
    """Joins bucket, catalogue and state table to assemble a dataset."""

    def __init__(self, storage: Storage, catalogue: Catalogue, state: StateTable, settings: Settings) -> None:
        self.storage = storage
        self.catalogue = catalogue
        self.state = state
        self.settings = settings
        self.labels = Labels(storage)

    def assemble(self, request: AssembleRequest) -> AssembleResponse:
        """Assemble the dataset of everything labeled so far. The same labels give the same dataset again.

        Splits are frozen only when the dataset is fit to train on: until then, more flights may still be split better.
        """
        job = request.labeling_job_name
        unusable = Conversion(self.storage, self.catalogue).settle(job)
        categories = categories_of(self.storage.read_json(layout.LABEL_CATEGORIES))
        counts = self.labels.index(job)
        jobs = self.labels.jobs()
        newest = NewestLabels(self.labels.of_jobs(jobs))
        frames = newest.frames
        while True:
            split_plan = plan_splits(frames, self._frozen(frames))
            dataset_id, test_set_id = newest.content_ids(categories, split_plan)
            files = layout.DatasetFiles(dataset_id)
            tally = self._write_splits(files, jobs, newest, split_plan, categories)
            checks = check_dataset(tally, split_plan, self.settings.min_train_images, job, counts, unusable)
            blocking = blocking_findings(checks)
            # Another execution may freeze a group between this read and this write. Its item stays, so plan again.
            if blocking or self._freeze(split_plan):
                break
        document = DatasetDocument(
            dataset_id=dataset_id,
            created_at=request.now,
            labeling_job=job,
            labeling_jobs=tuple(sorted(tally.jobs)),
            correlation_id=request.correlation_id,
            categories=categories,
            counts=tally.counts,
            class_boxes={split: dict(boxes) for split, boxes in tally.class_boxes.items()},
            groups=split_plan.groups,
            guard_images=len(split_plan.guards),
            moved_images=len(split_plan.moved),
            test_set_id=test_set_id,
            checks=checks,
        )
        page = render_dataset_report(document, tally, self._examples(tally)).encode()
        report_uri = self.storage.write(files.report, page, content_type="text/html; charset=utf-8")
        # Last: where there is a dataset.json, the dataset is complete.
        dataset_uri = self.storage.write_json(files.document, document.plain())
        train = tally.counts["train"]
        return AssembleResponse(
            decision="insufficient" if blocking else "train",
            reason="; ".join(finding.message for finding in blocking)
            or f"{train.images} pictures with {train.boxes} boxes to train on",
            notes=notes_of(checks),
            labels=counts,
            dataset_id=dataset_id,
            dataset_uri=dataset_uri,
            train_manifest_uri=self.storage.uri(files.manifest("train")),
            validation_manifest_uri=self.storage.uri(files.manifest("validation")),
            test_manifest_uri=self.storage.uri(files.manifest("test")),
            report_uri=report_uri,
            categories=categories,
            counts=tally.counts,
            test_set_id=test_set_id,
        )

    def _frozen(self, frames: list[Frame]) -> dict[str, JsonObject]:
        flights = self._split_items(flight_names(frames))
        return flights | self._split_items(block_names(frames, flights))

    def _split_items(self, names: list[str]) -> dict[str, JsonObject]:
        found = self.state.get_many(layout.SPLIT_ITEMS + name for name in names)
        return {name.removeprefix(layout.SPLIT_ITEMS): item for name, item in found.items()}

    def _freeze(self, split_plan: SplitPlan) -> bool:
        """Write the plan's new groups. False: another execution has frozen one of them."""
        return all(self.state.put_if_absent(layout.SPLIT_ITEMS + name, item) for name, item in split_plan.new.items())

    def _write_splits(
        self,
        files: layout.DatasetFiles,
        jobs: list[str],
        newest: NewestLabels,
        plan: SplitPlan,
        categories: tuple[str, ...],
    ) -> Tally:
        """Write labels and manifest of each split, and count what is in them."""
        tally = Tally(categories)
        with ExitStack() as stack:
            labels = {
                split: stack.enter_context(
                    gzip.GzipFile(
                        fileobj=stack.enter_context(self.storage.writing(files.labels(split), "application/gzip")),
                        mode="wb",
                        compresslevel=6,
                        filename="",
                        mtime=0,  # the same labels are the same object
                    )
                )
                for split in SPLITS
            }
            manifests = {
                split: stack.enter_context(self.storage.writing(files.manifest(split), "application/json"))
                for split in SPLITS
            }
            # A SageMaker ManifestFile: a prefix, then keys relative to it.
            # docs.aws.amazon.com/sagemaker/latest/APIReference/API_S3DataSource.html
            for split, manifest in manifests.items():
                head = json.dumps([{"prefix": s3_uri(self.storage.bucket, "")}, files.labels(split)])
                manifest.write(head[:-1].encode())
            for image in newest.of(self.labels.of_jobs(jobs)):
                if image.image_id not in plan.splits:
                    continue
                split = plan.splits[image.image_id]
                tally.add(split, image)
                if not tally.unknown:
                    labels[split].write(dataset_line(image, categories))
                manifests[split].write(b",\n" + json.dumps(image.key).encode())
            for manifest in manifests.values():
                manifest.write(b"]\n")
        return tally

    def _examples(self, tally: Tally) -> list[Example]:
        examples = []
        for split, image in tally.examples:
            if image.width * image.height > MOST_EXAMPLE_PIXELS:
                continue
            if stored := self.storage.read_if_there(image.key):
                examples.append(Example.of(split, image, stored.body))
        return examples
