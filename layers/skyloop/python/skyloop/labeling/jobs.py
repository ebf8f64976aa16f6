"""Pending images are claimed for a labeling job, and requeued when it does not finish or its labels are wrong."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from skyloop import layout
from skyloop.aws.catalogue import PARALLEL_WRITES, Catalogue
from skyloop.aws.settings import Settings
from skyloop.aws.storage import Storage
from skyloop.documents import (
    CatalogueItem,
    ImageStatus,
    RequeueRequest,
    RequeueResponse,
    SelectIdle,
    SelectLabel,
    SelectRequest,
    SelectWait,
)
from skyloop.formats.groundtruth import MAX_ITEMS, categories_of, input_line
from skyloop.labeling import selection
from skyloop.labeling.sources import Sources

LABEL_ATTRIBUTE = "boxes"

TASK_TEMPLATE = """\
<script src="https://assets.crowd.aws/crowd-html-elements.js"></script>
<crowd-form>
  <crowd-bounding-box
    name="boundingBox"
    src="{{ task.input.taskObject | grant_read_access }}"
    header="{{ task.input.header }}"
    labels="{{ task.input.labels | to_json | escape }}"
  >
    <full-instructions header="Draw boxes">
      <p>Draw one box around every object of the listed classes, as tightly as you can.</p>
      <p>Draw the visible part only when an object is hidden in part or cut by the edge of the picture.</p>
      <p>A picture without such objects is a good answer too: submit it without boxes.</p>
    </full-instructions>
    <short-instructions>One tight box around every object. No box is an answer too.</short-instructions>
  </crowd-bounding-box>
</crowd-form>
"""


class LabelCategoriesMissing(LookupError):
    """There are images to label, but no classes are defined."""


class LabelingJobs:
    """Joins the bucket and the catalogue for labeling."""

    def __init__(self, storage: Storage, catalogue: Catalogue, settings: Settings) -> None:
        self.storage = storage
        self.catalogue = catalogue
        self.settings = settings

    def select(self, request: SelectRequest) -> SelectWait | SelectIdle | SelectLabel:
        """Decide, and when it is time: claim what waits and write the job's files.

        The first image of the queue is claimed before any other. Two selections at once see the same first image: one
        of them gets it, and the other claims nothing. Raises LabelCategoriesMissing, before any claim.
        """
        settings = self.settings
        queue = self._queue(request.now)
        verdict = selection.decide_selection(
            queue,
            request.now,
            batch_size=settings.labeling_batch_size,
            max_wait_hours=settings.labeling_max_wait_hours,
            quiet_seconds=settings.labeling_quiet_seconds,
            force=request.force,
        )
        if verdict.decision == "wait":
            return SelectWait(wait_seconds=max(1, verdict.wait_seconds), reason=verdict.reason)
        if verdict.decision == "idle":
            return SelectIdle(reason=verdict.reason)
        categories = self._categories()
        pending = self.catalogue.by_status("PENDING", limit=MAX_ITEMS)
        waiting = Sources(self.storage, self.catalogue).unchanged(pending, request.now)
        if not waiting:
            return SelectIdle(reason="what waited was taken by another selection, or is gone")
        job_name = selection.labeling_job_name(settings.prefix, ((item.image_id, item.attempts) for item in waiting))
        claimed = self._claim(waiting, job_name)
        if not claimed:
            return SelectIdle(reason="another selection is taking these images")
        return self._write_job(job_name, claimed, categories)

    def requeue(self, request: RequeueRequest) -> RequeueResponse:
        """Requeue the images that a job has claimed and not labeled or, if `labeled`, those that it has labeled.

        Labels of the latter are excluded from all later datasets first. They are not deleted: a note beside them
        excludes them.
        """
        job_name = request.job_name
        status: ImageStatus = "LABELED" if request.labeled else "LABELING"
        if request.labeled:
            note = {"labeling_job": job_name, "reason": request.reason}
            self.storage.write_json(layout.exclusion_key(job_name), note)
        image_ids = self.catalogue.of_job(job_name, status)
        return RequeueResponse(requeued=self.catalogue.requeue_all(image_ids, job_name, status))

    def _queue(self, now: datetime) -> selection.Queue:
        """What waits, from three short queries that never read more items than a batch has."""
        first = list(self.catalogue.by_status("PENDING", limit=self.settings.labeling_batch_size))
        heads = (
            next(self.catalogue.by_status("PENDING", newest_first=True, priority=drifted, limit=1), None)
            for drifted in (True, False)
        )
        latest = [item for item in heads if item is not None]
        arrivals = [item.catalogued_at for item in (*first, *latest)]
        full = len(first) == self.settings.labeling_batch_size
        return selection.Queue(
            pending=len(first),
            oldest=min(arrivals, default=None),
            newest=max(arrivals, default=None),
            full_since=max((item.catalogued_at for item in first), default=now) if full else None,
        )

    def _categories(self) -> tuple[str, ...]:
        config = self.storage.read_json_if_there(layout.LABEL_CATEGORIES)
        if config is None:
            raise LabelCategoriesMissing(
                f"images wait for labels, but {self.storage.uri(layout.LABEL_CATEGORIES)} does not exist:"
                " name your classes with `skyloop categories add`"
            )
        return categories_of(config)

    def _claim(self, waiting: list[CatalogueItem], job_name: str) -> list[CatalogueItem]:
        head, *rest = waiting
        if not self.catalogue.claim(head.image_id, job_name):
            return []
        with ThreadPoolExecutor(PARALLEL_WRITES) as pool:
            won = pool.map(lambda item: self.catalogue.claim(item.image_id, job_name), rest)
            return [head, *(item for item, mine in zip(rest, won, strict=True) if mine)]

    def _write_job(self, job_name: str, claimed: list[CatalogueItem], categories: Iterable[str]) -> SelectLabel:
        folder = f"{layout.LABELING_JOBS}{job_name}/"
        lines = (input_line(self.storage.uri(item.key), item.image_id, item.flight) for item in claimed)
        manifest = "".join(line + "\n" for line in lines).encode()
        manifest_uri = self.storage.write(f"{folder}input.manifest", manifest, content_type="application/jsonlines")
        template = TASK_TEMPLATE.encode()
        template_uri = self.storage.write(f"{folder}instructions.liquid", template, content_type="text/html")
        classes = ", ".join(categories)
        return SelectLabel(
            job_name=job_name,
            input_manifest_uri=manifest_uri,
            output_uri=self.storage.uri(layout.LABELING_JOBS),
            label_category_config_uri=self.storage.uri(layout.LABEL_CATEGORIES),
            ui_template_uri=template_uri,
            label_attribute_name=LABEL_ATTRIBUTE,
            image_count=len(claimed),
            correlation_id=claimed[0].correlation_id,
            task_title="Draw boxes on drone images",
            task_description=_at_most(255, f"Draw a tight box around every object of these classes: {classes}"),
        )


def _at_most(length: int, text: str) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
