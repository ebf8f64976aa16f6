"""`drop`, `label`, `relabel`, `categories`: images in, labels wanted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from cli import actions, categories, coco, flights, render
from cli.cloud import Cloud
from cli.command import command
from cli.drop import drop as send
from cli.drop import new_correlation_id
from cli.errors import CliError
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
        str | None, typer.Option("--flight", help="Name of the flight [default: the folder's].", show_default=False)
    ] = None,
) -> None:
    """Upload images to raw-images/<flight>/. What is there already stays as it is."""
    planned = flights.plan(path, flight)
    boxes = coco.read(labels) if labels else None
    for note in planned.notes:
        out.warn(note)
    report = send(cloud, planned, boxes, new_correlation_id(), out.track)
    for name, why in report.suspicious.items():
        out.warn(f"{name} {why}; uploaded all the same, the pipeline will quarantine it with the reason")
    if missing := report.entries_without_image:
        out.warn(f"{len(missing)} entries of {labels} name no image here (or one of several), such as {missing[0]}")
    if report.images_without_entry:
        out.warn(f"{report.images_without_entry} images have no entry in {labels}: the workforce knows nothing of them")
    if report.other_files:
        out.note(f"{report.other_files} other files were left alone.")
    if labels is None and (beside := coco.find(path)):
        out.note(f"{beside} was not used; `--labels {beside}` gives its boxes to the workforce.")
    if boxes is None and not categories.read(cloud.client("s3"), cloud.bucket)[0]:
        out.warn(
            "there are no label categories yet, so nothing can be labeled: name them with `skyloop categories add "
            "NAME ...`, or drop again with --labels"
        )
    out.result(report.as_document(), lambda: render.drop_report(report))
    if report.different:
        raise CliError(
            f"{len(report.different)} keys hold other content already and were left alone, "
            f"the first is {report.different[0]}.",
            "Raw images never change: drop these under another name with --flight.",
        )
    if report.unreadable:
        name, why = next(iter(report.unreadable.items()))
        raise CliError(
            f"{len(report.unreadable)} files could not be read, the first is {name}: {why}", "Drop again then."
        )


@command
def label(
    cloud: Cloud,
    out: Output,
    now: Annotated[bool, typer.Option("--now", help="Label what is pending without waiting for a full batch.")] = False,
) -> None:
    """Look whether there is enough to label, and start a labeling job if so; with --now, whatever there is."""
    started = actions.start(cloud, "Label", "label", json.dumps({"force": now}))
    out.result(started, lambda: f"Started {started['name']}. `skyloop watch` shows the labeling job.")


@command
def relabel(
    cloud: Cloud,
    out: Output,
    labeling_job: Annotated[str, typer.Argument(help="The labeling job whose labels are wrong.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; kept with the labels.")] = "by hand",
    now: Annotated[bool, typer.Option("--now", help="Label again without waiting for a full batch.")] = False,
) -> None:
    """Set a job's labels aside: no dataset takes them any more, and its images are queued to be labeled again.

    The laptop's workforce answers from the boxes it knows: drop the folder with corrected --labels first.
    """
    job = actions.find_labeling_job(cloud, labeling_job)
    request = json.dumps({"relabel": job, "reason": reason, "force": now})
    started = actions.start(cloud, "Label", "relabel", request)
    out.result(started, lambda: f"Started {started['name']}. `skyloop watch` shows the images and the labeling job.")


@command
def list_categories(cloud: Cloud, out: Output) -> None:
    """List the label categories with their class ids."""
    names, _ = categories.read(cloud.client("s3"), cloud.bucket)
    out.result(_as_document(names), lambda: _lines(names))


@command
def add_categories(
    cloud: Cloud,
    out: Output,
    names: Annotated[list[str], typer.Argument(help="New names; they are appended, and never removed.")],
) -> None:
    """Append label categories."""
    known, added = categories.add(cloud, names)
    out.note(f"Added {', '.join(added)}." if added else "Nothing new.")
    out.result(_as_document(known), lambda: _lines(known))


def _as_document(names: list[str]) -> list[dict[str, object]]:
    return [{"class_id": index, "name": name} for index, name in enumerate(names)]


def _lines(names: list[str]) -> str:
    listed = "\n".join(f"{index:>3}  {name}" for index, name in enumerate(names))
    return listed or "No categories yet: `skyloop drop --labels` takes them from the COCO file."
