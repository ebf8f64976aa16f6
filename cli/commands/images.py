"""`drop`, `label`, `relabel`, `categories`: images, and what is to be labeled on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from cli import actions, categories, render
from cli.cloud import Cloud
from cli.command import command
from cli.drop import DropReport, new_correlation_id, upload_drop
from cli.errors import CliError
from cli.flights import by_products_sentence, other_files_sentence, plan_drop
from cli.labels import find_labels, read_labels
from cli.output import Output


@command
def drop(
    cloud: Cloud,
    out: Output,
    path: Annotated[Path, typer.Argument(help="An image, or a folder; each folder with images is a flight.")],
    labels: Annotated[
        Path | None,
        typer.Option("--labels", help="COCO file with known boxes; on the laptop its workforce answers from them."),
    ] = None,
    flight: Annotated[
        str | None, typer.Option("--flight", help="Name of the flight (by default the folder's).", show_default=False)
    ] = None,
) -> None:
    """Upload images to raw-images/<flight>/. Images that are there already stay as they are.

    Hidden files, and by-products such as a NAS's @eaDir, are left out.
    """
    planned = plan_drop(path, flight)
    coco = read_labels(labels) if labels else None
    for note in planned.notes:
        out.warn(note)
    report = upload_drop(cloud, planned, coco, new_correlation_id(), out.track)
    _warn(out, report, labels)
    if labels is None and (beside := find_labels(path)):
        out.note(f"{beside} was not used; `--labels {beside}` gives its boxes to the workforce.")
    if labels is None and not categories.read_categories(cloud)[0]:
        out.warn(
            "there are no label categories yet, so nothing can be labeled: name them with `skyloop categories add "
            "NAME ...`, or drop again with --labels"
        )
    out.result(report.as_document(), lambda: render.drop_report(report))
    if report.different:
        raise CliError(
            f"{len(report.different)} keys hold other content already and were not changed, "
            f"the first is {report.different[0]}.",
            "Raw images never change: drop these under another name with --flight.",
        )
    if report.unreadable:
        name, why = next(iter(report.unreadable.items()))
        raise CliError(
            f"{len(report.unreadable)} files could not be uploaded, the first is {name}: {why}",
            "Rename them or make them readable, then drop again.",
        )


def _warn(out: Output, report: DropReport, labels: Path | None) -> None:
    for name, why in report.suspicious.items():
        out.warn(f"{name}: {why}; uploaded all the same, the pipeline will quarantine it with the reason")
    if missing := report.entries_without_image:
        out.warn(f"{len(missing)} entries of {labels} name no image here (or one of several), such as {missing[0]}")
    if report.images_without_entry:
        out.warn(f"{report.images_without_entry} images have no entry in {labels}: the workforce knows nothing of them")
    if report.joined:
        once = f", {report.same_boxes} that two of them have only once" if report.same_boxes else ""
        out.warn(
            f"{len(report.joined)} pictures have several entries in {labels}, such as {report.joined[0]}: the boxes of"
            f" all entries are kept{once}"
        )
    if report.overlapping_boxes:
        out.warn(
            f"{report.overlapping_boxes} boxes of such entries share half or more with a box of their category in"
            f" another entry: where two people labeled the same objects, keep one entry in {labels} and drop again"
        )
    if report.same_picture:
        path, same = next(iter(report.same_picture.items()))
        out.note(
            f"{len(report.same_picture)} files are copies of others here, such as {path} of {same}: the catalogue has "
            "each picture once, and `skyloop status` counts its copies."
        )
    if report.other_files:
        out.note(other_files_sentence(report.other_files))
    if report.by_products:
        out.note(by_products_sentence(report.by_products))


@command
def label(
    cloud: Cloud,
    out: Output,
    now: Annotated[bool, typer.Option("--now", help="Label what is pending without waiting for a full batch.")] = False,
) -> None:
    """Start a labeling job if enough images are pending or have waited long enough; with --now, for all pending."""
    started = actions.start(cloud, "Label", "label", json.dumps({"force": now}))
    out.result(started.as_document(), lambda: f"Started {started.name}. `skyloop watch` shows the labeling job.")


@command
def relabel(
    cloud: Cloud,
    out: Output,
    labeling_job: Annotated[str, typer.Argument(help="The labeling job whose labels are wrong.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; kept with the labels.")] = "by hand",
    now: Annotated[bool, typer.Option("--now", help="Label again without waiting for a full batch.")] = False,
) -> None:
    """Exclude a job's labels from datasets, and requeue its images to be labeled again.

    The laptop's workforce answers from the boxes it knows: drop the folder with corrected --labels first.
    """
    job = actions.find_labeling_job(cloud, labeling_job)
    request = json.dumps({"relabel": job, "reason": reason, "force": now})
    started = actions.start(cloud, "Label", "relabel", request)
    out.result(
        started.as_document(),
        lambda: f"Started {started.name}. `skyloop watch` shows the images and the labeling job.",
    )


@command
def list_categories(cloud: Cloud, out: Output) -> None:
    """List the label categories with their class ids."""
    names, _ = categories.read_categories(cloud)
    out.result(_as_document(names), lambda: render.categories(names))


@command
def add_categories(
    cloud: Cloud,
    out: Output,
    names: Annotated[list[str], typer.Argument(help="New names; they are appended, and never removed.")],
) -> None:
    """Append label categories."""
    known, added = categories.add_categories(cloud, names)
    out.note(f"Added {', '.join(added)}." if added else "Nothing new.")
    out.result(_as_document(known), lambda: render.categories(known))


def _as_document(names: list[str]) -> list[dict[str, object]]:
    return [{"class_id": index, "name": name} for index, name in enumerate(names)]
