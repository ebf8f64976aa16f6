"""What people see. Pure: takes what was fetched, returns Rich renderables, calls nothing."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group, RenderableType
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from cli.snapshot import MOST_COUNTED

if TYPE_CHECKING:
    from skyloop.documents import DriftState

    from cli.alerts import ArchivedAlert
    from cli.detect import ImageDetections
    from cli.drop import DropReport
    from cli.logs import Line
    from cli.snapshot import Endpoint, Execution, LabelingJob, Package, ServedEvaluation, Snapshot
    from cli.timeline import TimelineEvent
    from laptop.running import Running

WHY_LENGTH = 240  # characters of a reason in a table; `alerts` gives it whole
STYLES = {
    "Approved": "green",
    "PendingManualApproval": "yellow",
    "Rejected": "red",
    "InService": "green",
    "Completed": "green",
    "InProgress": "cyan",
    "Failed": "red",
    "Stopped": "yellow",
    "error": "bold red",
    "warning": "yellow",
    "info": "green",
    "DRIFT": "bold yellow",
    "OK": "green",
}
LEVEL_STYLES = {"info": "", "good": "green", "warning": "yellow", "error": "bold red"}


def styled(value: str) -> Text:
    """A status word in its color."""
    return Text(value, style=STYLES.get(value, "cyan" if value.endswith("ing") else ""))


def table(*columns: str, title: str | None = None) -> Table:
    """A plain table without rows; columns that begin with `>` are numbers and are aligned right."""
    empty = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", pad_edge=False)
    for column in columns:
        empty.add_column(
            column.removeprefix(">"), justify="right" if column.startswith(">") else "left", overflow="fold"
        )
    return empty


def at(moment: datetime | str) -> str:
    """A moment in local time, to the second."""
    value = datetime.fromisoformat(moment) if isinstance(moment, str) and moment else moment
    return value.astimezone().strftime("%Y-%m-%d %H:%M:%S") if isinstance(value, datetime) else ""


def counted(images: int) -> str:
    """How many images have a status; there may be more than are counted."""
    return f"{images}+" if images >= MOST_COUNTED else str(images)


def images_line(counts: dict[str, int], queued: int, copies: int = 0) -> Text:
    """One line: how many images have which status, and how many files more have the bytes of one of them."""
    parts = [f"{counted(count)} {status.lower()}" for status, count in counts.items()]
    if queued:
        parts.insert(0, f"{queued} just uploaded")
    line = Text("images    ", style="bold") + Text(" · ".join(parts), style="")
    if counts.get("QUARANTINED"):
        line.stylize("yellow", len(line) - len(parts[-1]))
    if copies:
        line += Text(f" · {counted(copies)} more are copies of these", style="dim")
    return line


def endpoint_line(endpoint: Endpoint, drift: DriftState | None) -> Text:
    """What serves, and whether the images that it gets have drifted."""
    line = Text("endpoint  ", style="bold") + Text(f"{endpoint.name} ") + styled(endpoint.status)
    if endpoint.config:
        serving = f"version {endpoint.version}" if endpoint.version else endpoint.config
        line += Text(f", serves {serving}")
        line += Text(f" since {at(endpoint.deployed_at)}" if endpoint.deployed_at else "")
    if endpoint.failure and endpoint.status == "InService":
        line += Text(f"\n          its last update did not succeed: {endpoint.failure}", style="dim")
    elif endpoint.failure:
        line += Text(f"\n          {endpoint.failure}", style="red")
    if drift:
        line += Text("\ndrift     ", style="bold") + styled(drift.state)
        line += Text(f" since {at(drift.since)}" if drift.since else "")
        line += Text(f", report {drift.report_key}" if drift.report_key else "")
    return line


def evaluation_line(judged: ServedEvaluation) -> Text:
    """How the version in service looks at pictures, what slicing gains, and where its report is."""
    parts = [f"by {judged.engine}"] if judged.engine else []
    if judged.slice_side is not None and judged.cost is not None:
        parts.append(
            f"large pictures in slices of {judged.slice_side} pixels, {judged.cost:.1f} times the work of one look"
        )
    elif judged.cost is not None:
        parts.append("every picture as a whole")
    if judged.map50 is not None:
        without = judged.map50_without_slices if judged.slice_side is not None else None
        parts.append(f"mAP50 {judged.map50:.3f}" + (f", without slices {without:.3f}" if without is not None else ""))
    return Text("looks     ", style="bold") + Text(f"{' · '.join(parts)}\n          report {judged.report}", style="")


def jobs_table(jobs: list[LabelingJob]) -> Table:
    """Labeling jobs and how far they are."""
    rows = table("labeling job", "status", ">labeled", ">of", "created")
    for job in jobs:
        rows.add_row(job.name, styled(job.status), str(job.labeled), str(job.total), at(job.created))
    return rows


def running_table(executions: list[Execution]) -> Table:
    """Executions of state machines that run now."""
    rows = table("running", "execution", "step", "since")
    for item in executions:
        rows.add_row(item.machine, item.name, item.step or "starting", at(item.started))
    return rows


def packages_table(packages: list[Package], serving: str = "") -> Table:
    """Model package versions; `serving` is the ARN of the one in service."""
    rows = table(">version", "approval", ">mAP50", "dataset", "created", "")
    for item in packages:
        score = "" if item.map50 is None else f"{item.map50:.3f}"
        mark = "in service" if item.arn == serving else ""
        rows.add_row(str(item.version), styled(item.approval), score, item.dataset_id, at(item.created), mark)
    return rows


def alerts_table(alerts: list[ArchivedAlert]) -> Table:
    """Alerts, one row each; why and what to do are shortened, and left out of good news."""
    rows = table("at", "alert", "what happened, why, and what to do")
    for item in alerts:
        text = Text(item.get("what", ""))
        if item.get("severity") != "info":
            for title, reason in (("why", item.get("why")), ("next", item.get("next_step"))):
                if reason:
                    text.append(f"\n{title}: {shorten(reason, WHY_LENGTH, placeholder=' …')}", style="dim")
        label = Text(item.get("event", ""), style=STYLES.get(item.get("severity", ""), ""))
        label.append(f"\n{item.get('subject', '')}", style="not bold dim default")
        rows.add_row(at(item.get("at", "")), label, text)
    return rows


def quarantine_table(snapshot: Snapshot) -> Table:
    """Quarantined files with their reasons, and how many more there are."""
    rows = table("quarantined", "reason")
    for item in snapshot.quarantined:
        rows.add_row(item.key, item.reason)
    images = snapshot.images.get("QUARANTINED", 0)
    if (more := images - len(snapshot.quarantined)) > 0:
        rows.add_row(f"… and {more}{'+' if images >= MOST_COUNTED else ''} more", "--limit shows more")
    return rows


def status(snapshot: Snapshot) -> RenderableType:
    """The whole state, on one screen; empty parts are left out."""
    parts: list[RenderableType] = [
        Text(f"{snapshot.stack} {snapshot.cloud}", style="dim"),
        images_line(snapshot.images, snapshot.queued_uploads, snapshot.copies),
        endpoint_line(snapshot.endpoint, snapshot.drift),
    ]
    if snapshot.evaluation:
        parts.append(evaluation_line(snapshot.evaluation))
    if snapshot.shortage:
        parts.insert(0, Text(snapshot.shortage, style="bold red"))
    if snapshot.waiting:
        turns = " (on the laptop jobs take turns)" if "laptop" in snapshot.cloud else ""
        parts.append(Text.assemble(("waiting   ", "bold"), f"for a machine: {', '.join(snapshot.waiting)}{turns}"))
    if snapshot.quarantined:
        parts.append(quarantine_table(snapshot))
    if snapshot.labeling_jobs:
        parts.append(jobs_table(snapshot.labeling_jobs))
    if snapshot.running:
        parts.append(running_table(snapshot.running))
    if snapshot.packages:
        parts.append(packages_table(snapshot.packages, snapshot.endpoint.package_arn))
    if snapshot.alerts:
        parts.append(alerts_table(snapshot.alerts))
    if not (sum(snapshot.images.values()) or snapshot.queued_uploads):
        parts.append(Text("Nothing was dropped yet: skyloop drop FOLDER", style="dim"))
    return Group(*parts)


def drop_report(report: DropReport) -> RenderableType:
    """What a drop did, and what comes next."""
    flights = report.flights[:6] + ([f"and {len(report.flights) - 6} more"] if len(report.flights) > 6 else [])
    lines = [
        Text.assemble(
            ("dropped   ", "bold"),
            f"{report.uploaded} new images ({report.bytes / 1e6:.1f} MB), {report.already_there} already there",
        ),
        Text.assemble(("flights   ", "bold"), ", ".join(flights)),
    ]
    if report.boxes:
        added = f", new categories: {', '.join(report.categories_added)}" if report.categories_added else ""
        lines.append(Text.assemble(("labels    ", "bold"), f"{report.boxes} known boxes{added}"))
    if report.uploaded:
        lines.append(Text.assemble(("batch     ", "bold"), report.correlation_id))
        lines.append(Text("`skyloop watch` shows what happens to it.", style="dim"))
    return Group(*lines)


def alerts_in_full(found: list[ArchivedAlert]) -> RenderableType:
    """Each alert with everything it says; links last."""
    if not found:
        return Text("No alerts.", style="dim")
    parts: list[RenderableType] = []
    for item in found:
        head = Text(f"{at(item.get('at', ''))}  ", style="dim")
        head.append(f"{item.get('event')}", style=f"bold {STYLES.get(item.get('severity', ''), '')}".strip())
        head.append(f"  {item.get('subject')}")
        parts.append(head)
        texts = (
            ("", item.get("what")),
            ("why    ", item.get("why")),
            ("kept   ", item.get("kept")),
            ("next   ", item.get("next_step")),
        )
        parts += [Text(f"    {label}{text}") for label, text in texts if text]
        parts += [Text(f"    {name}: {uri}", style="dim") for name, uri in (item.get("links") or {}).items()]
    return Group(*parts)


def log_lines(lines: list[Line]) -> RenderableType:
    """Log lines, one each, levels in color."""
    if not lines:
        return Text("Nothing was logged.", style="dim")
    colors = {"ERROR": "red", "CRITICAL": "bold red", "WARNING": "yellow"}
    return Group(
        *(
            Text.assemble(
                (f"{line.at.astimezone():%H:%M:%S} ", "dim"),
                (f"{line.group.rpartition('/')[2]} ", "cyan"),
                (line.message, colors.get(line.level, "")),
            )
            for line in lines
        )
    )


def detections(found: list[ImageDetections], saved: dict[Path, Path]) -> RenderableType:
    """Of one image, every detection; of several, how many of which category on each. `saved`: image -> picture."""
    parts: list[RenderableType] = [_detections_of_one(found[0]) if len(found) == 1 else _detections_counted(found)]
    total = sum(len(image.detections) for image in found)
    parts.append(Text(f"{total} detections in {len(found)} images", style="bold"))
    if saved:
        first = next(iter(saved.values()))
        parts.append(Text(f"pictures: {first}" if len(saved) == 1 else f"pictures: {first.parent}/"))
    return Group(*parts)


def _detections_of_one(image: ImageDetections) -> RenderableType:
    if not image.detections:
        return Text("Nothing found.", style="dim")
    rows = table("category", ">confidence", ">left", ">top", ">width", ">height")
    for item in sorted(image.detections, key=lambda item: -item.confidence):
        numbers = (f"{value:.0f}" for value in (item.left, item.top, item.width, item.height))
        rows.add_row(item.category, f"{item.confidence:.2f}", *numbers)
    return rows


def _detections_counted(found: list[ImageDetections]) -> RenderableType:
    names = sorted({item.category for image in found for item in image.detections})
    rows = table("image", *(f">{name}" for name in names))
    for image in found:
        counts = (sum(item.category == name for item in image.detections) for name in names)
        rows.add_row(image.path.name, *(str(count or "") for count in counts))
    return rows


def categories(names: list[str]) -> str:
    """The label categories with their class ids."""
    listed = "\n".join(f"{index:>3}  {name}" for index, name in enumerate(names))
    return listed or "No categories yet: `skyloop drop --labels` takes them from the labels."


def timeline_line(event: TimelineEvent, started: float) -> Table:
    """One line of a timeline: seconds since `started` (an epoch second), stage, what happened."""
    elapsed = max(0.0, event.at.timestamp() - started)
    row = Table.grid(padding=(0, 1))
    row.add_column(width=7, justify="right")
    row.add_column(width=9)
    row.add_column(ratio=1)
    row.add_row(Text(f"{elapsed:.1f}s", "dim"), Text(event.stage, "bold"), Text(event.text, LEVEL_STYLES[event.level]))
    return row


def activity_line(now: Snapshot | None, more: str = "") -> Spinner:
    """The line under a live timeline: what runs at this moment, and `more`."""
    if now is None:
        return Spinner("dots", Text("looking"))
    runs = [f"{item.machine}: {item.step or 'starting'}" for item in now.running]
    runs += [f"labeling {job.labeled}/{job.total}" for job in now.labeling_jobs if job.status == "InProgress"]
    runs += [f"{name} waits for a machine" for name in now.waiting]
    counts = ", ".join(f"{counted(count)} {name.lower()}" for name, count in now.images.items() if count)
    return Spinner("dots", Text(" · ".join([*runs, counts or "no images yet", *([more] if more else [])])))


def laptop_up(running: Running, home: Path) -> RenderableType:
    """What runs after `skyloop up`, and what to do next."""
    given = running.parameters.get("BaseWeights", "")
    by_name = f"{given or 'yolo11n.pt'}, which is downloaded (scratch: random ones)"
    weights = given if given == "scratch" or "/" in given else by_name
    return Group(
        Text.assemble(("Up. ", "bold green"), f"{running.stack_name} on {running.endpoint_url}, state in {home}"),
        Text.assemble(("weights  ", "bold"), f"training starts from {weights}"),
        Text.assemble(("next     ", "bold"), "skyloop drop FOLDER --labels annotations.json"),
        Text.assemble(("         ", "bold"), "skyloop watch"),
    )
