"""What people see. Pure: takes what was fetched, returns Rich renderables, calls nothing."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from textwrap import shorten
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from cli.detect import Answer
from cli.drop import DropReport
from cli.logs import Line
from cli.snapshot import Endpoint, Execution, LabelingJob, Package, Snapshot

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


def styled(value: str) -> Text:
    """A status word in its color."""
    return Text(value, style=STYLES.get(value, "cyan" if value.endswith("ing") else ""))


def table(*columns: str, title: str | None = None) -> Table:
    """A plain table; columns that begin with `>` are numbers and go right."""
    made = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", pad_edge=False)
    for column in columns:
        made.add_column(
            column.removeprefix(">"), justify="right" if column.startswith(">") else "left", overflow="fold"
        )
    return made


def at(moment: datetime | str) -> str:
    """A moment in local time, to the second."""
    value = datetime.fromisoformat(moment) if isinstance(moment, str) and moment else moment
    return value.astimezone().strftime("%Y-%m-%d %H:%M:%S") if isinstance(value, datetime) else ""


def images_line(counts: dict[str, int], queued: int) -> Text:
    """One line: how many images stand where."""
    parts = [f"{count} {status.lower()}" for status, count in counts.items()]
    if queued:
        parts.insert(0, f"{queued} just uploaded")
    line = Text("images    ", style="bold") + Text(" · ".join(parts), style="")
    if counts.get("QUARANTINED"):
        line.stylize("yellow", len(line) - len(parts[-1]))
    return line


def endpoint_line(endpoint: Endpoint, drift: dict[str, Any]) -> Text:
    """One line: what serves, and whether what it sees has drifted."""
    line = Text("endpoint  ", style="bold") + Text(f"{endpoint.name} ") + styled(endpoint.status)
    if endpoint.config:
        serving = f"version {endpoint.version}" if endpoint.version else endpoint.config
        line += Text(f", serves {serving}")
        line += Text(f" since {at(endpoint.deployed_at)}" if endpoint.deployed_at else "")
    if endpoint.failure:
        line += Text(f"\n          {endpoint.failure}", style="red")
    if state := drift.get("state"):
        line += Text("\ndrift     ", style="bold") + styled(str(state))
        line += Text(f" since {at(str(drift.get('since', '')))}" if drift.get("since") else "")
        line += Text(f", report {drift['report_key']}" if drift.get("report_key") else "")
    return line


def jobs_table(jobs: list[LabelingJob]) -> Table:
    made = table("labeling job", "status", ">labeled", ">of", "created")
    for job in jobs:
        made.add_row(job.name, styled(job.status), str(job.labeled), str(job.total), at(job.created))
    return made


def running_table(executions: list[Execution]) -> Table:
    made = table("running", "execution", "step", "since")
    for item in executions:
        made.add_row(item.machine, escape(item.name), item.step or "starting", at(item.started))
    return made


def packages_table(packages: list[Package], serving: str = "") -> Table:
    made = table(">version", "approval", ">mAP50", "dataset", "created", "")
    for item in packages:
        score = "" if item.map50 is None else f"{item.map50:.3f}"
        mark = "in service" if item.arn == serving else ""
        made.add_row(str(item.version), styled(item.approval), score, item.dataset_id, at(item.created), mark)
    return made


def alerts_table(alerts: list[dict[str, Any]]) -> Table:
    made = table("at", "alert", "what happened, why, and what to do")
    for item in alerts:
        text = Text(str(item.get("what", "")))
        if item.get("severity") != "info":
            for member, title in (("why", "why"), ("next_step", "next")):
                if item.get(member):
                    text.append(f"\n{title}: {shorten(str(item[member]), WHY_LENGTH, placeholder=' …')}", style="dim")
        label = Text(str(item.get("event", "")), style=STYLES.get(str(item.get("severity")), ""))
        label.append(f"\n{item.get('subject', '')}", style="not bold dim default")
        made.add_row(at(str(item.get("at", ""))), label, text)
    return made


def quarantine_table(snapshot: Snapshot) -> Table:
    made = table("quarantined", "reason")
    for item in snapshot.quarantined:
        made.add_row(escape(item.key), escape(item.reason))
    if (more := snapshot.images.get("QUARANTINED", 0) - len(snapshot.quarantined)) > 0:
        made.add_row(f"… and {more} more", "--limit shows more")
    return made


def status(snapshot: Snapshot) -> RenderableType:
    """The whole state on one screen; empty parts are left out."""
    parts: list[RenderableType] = [
        Text(f"{snapshot.stack} {snapshot.cloud}", style="dim"),
        images_line(snapshot.images, snapshot.queued_uploads),
        endpoint_line(snapshot.endpoint, snapshot.drift),
    ]
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


def megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"


def drop_report(report: DropReport) -> RenderableType:
    """What a drop did, and what comes next."""
    flights = report.flights[:6] + ([f"and {len(report.flights) - 6} more"] if len(report.flights) > 6 else [])
    lines = [
        Text.assemble(
            ("dropped   ", "bold"),
            f"{report.uploaded} new images ({megabytes(report.bytes)}), {report.already_there} already there",
        ),
        Text.assemble(("flights   ", "bold"), ", ".join(flights)),
    ]
    if report.boxes:
        added = f", new categories: {', '.join(report.categories_added)}" if report.categories_added else ""
        lines.append(Text.assemble(("labels    ", "bold"), f"{report.boxes} known boxes{added}"))
    if report.uploaded:
        lines.append(Text.assemble(("batch     ", "bold"), report.correlation_id))
        lines.append(Text("`skyloop watch` shows what becomes of it.", style="dim"))
    return Group(*lines)


def alerts_in_full(found: list[dict[str, Any]]) -> RenderableType:
    """Each alert with everything it says; links last."""
    if not found:
        return Text("No alerts.", style="dim")
    parts: list[RenderableType] = []
    for item in found:
        head = Text(f"{at(str(item.get('at', '')))}  ", style="dim")
        head.append(f"{item.get('event')}", style=f"bold {STYLES.get(str(item.get('severity')), '')}".strip())
        head.append(f"  {item.get('subject')}")
        parts.append(head)
        for name, label in (("what", ""), ("why", "why    "), ("kept", "kept   "), ("next_step", "next   ")):
            if item.get(name):
                parts.append(Text(f"    {label}{item[name]}"))
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


def answers(found: list[Answer], saved: dict[Path, Path]) -> RenderableType:
    """One image: every detection. Several: how many of which category in each."""
    parts: list[RenderableType] = []
    if len(found) == 1:
        made = table("category", ">confidence", ">left", ">top", ">width", ">height")
        for item in sorted(found[0].detections, key=lambda item: -item.confidence):
            numbers = (f"{value:.0f}" for value in (item.left, item.top, item.width, item.height))
            made.add_row(escape(item.category), f"{item.confidence:.2f}", *numbers)
        parts.append(made if found[0].detections else Text("Nothing found.", style="dim"))
    else:
        names = sorted({item.category for answer in found for item in answer.detections})
        made = table("image", *(f">{name}" for name in names))
        for answer in found:
            counts = (sum(item.category == name for item in answer.detections) for name in names)
            made.add_row(escape(answer.path.name), *(str(count or "") for count in counts))
        parts.append(made)
    total = sum(len(answer.detections) for answer in found)
    parts.append(Text(f"{total} detections in {len(found)} images", style="bold"))
    if saved:
        first = next(iter(saved.values()))
        parts.append(Text(f"pictures: {first}" if len(saved) == 1 else f"pictures: {first.parent}/"))
    return Group(*parts)
