"""`status`, `watch`, `alerts`, `logs`: what is, what happens, what went wrong."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from cli import alerts, logs, render, snapshot
from cli.cloud import Cloud
from cli.command import command
from cli.output import Output
from cli.snapshot import Snapshot
from cli.timeline import Happening, Timeline

LEVEL_STYLES = {"info": "", "good": "green", "warning": "yellow", "error": "bold red"}
QUIET_LOOKS = 3  # looks in a row that must find nothing moving: events hop from service to service in between

Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=100, help="Rows of each list.")]


@command
def status(cloud: Cloud, out: Output, limit: Limit = 10) -> None:
    """Show where everything stands, on one screen."""
    taken = snapshot.take(cloud, limit)
    out.result(taken.as_document(), lambda: render.status(taken))


def happening_line(happening: Happening, started: float) -> Table:
    """One line of a timeline: seconds since the start, stage, what happened."""
    elapsed = max(0.0, happening.at.timestamp() - started)
    row = Table.grid(padding=(0, 1))
    row.add_column(width=7, justify="right")
    row.add_column(width=9)
    row.add_column(ratio=1)
    style = LEVEL_STYLES[happening.level]
    row.add_row(Text(f"{elapsed:.1f}s", "dim"), Text(happening.stage, "bold"), Text(happening.text, style))
    return row


def footer(now: Snapshot | None, more: str = "") -> Spinner:
    """The line under a live timeline: what runs at this moment, and `more`."""
    if now is None:
        return Spinner("dots", "looking")
    runs = [f"{item.machine}: {item.step or 'starting'}" for item in now.running]
    runs += [f"labeling {job.labeled}/{job.total}" for job in now.labeling_jobs if job.status == "InProgress"]
    counts = ", ".join(f"{count} {name.lower()}" for name, count in now.images.items() if count)
    return Spinner("dots", Text(" · ".join([*runs, counts or "no images yet", *([more] if more else [])])))


@command
def watch(
    cloud: Cloud,
    out: Output,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on when everything is at rest.")] = False,
    every: Annotated[float, typer.Option("--every", min=0.2, max=60, help="Seconds between two looks.")] = 1.0,
) -> None:
    """Follow what happens, live, until everything is at rest or Ctrl-C."""
    timeline, started, quiet = Timeline(cloud), time.time(), 0
    live = Live(footer(None), console=out.console, refresh_per_second=8, transient=True)
    with live:
        while quiet < QUIET_LOOKS or follow:
            told = timeline.look()
            for happening in told:
                out.line(happening.as_document(), lambda item=happening: happening_line(item, started))
            live.update(footer(timeline.now))
            at_rest = timeline.now is not None and timeline.now.idle and not told
            quiet = quiet + 1 if at_rest else 0
            time.sleep(every)
    if not out.as_json and timeline.now is not None:
        out.console.print(render.status(timeline.now))


@command
def list_alerts(
    cloud: Cloud,
    out: Output,
    event: Annotated[
        str | None, typer.Option("--event", help="Only one kind, for example drift or gate-refused.")
    ] = None,
    days: Annotated[int, typer.Option("--days", min=1, max=3650, help="How far back.")] = 30,
    limit: Limit = 20,
) -> None:
    """List the alerts, newest first: what happened, why, what was kept, what to do."""
    found = alerts.latest(cloud, limit, event, days)
    out.result(found, lambda: render.alerts_in_full(found))


@command
def show_logs(
    cloud: Cloud,
    out: Output,
    group: Annotated[
        str | None, typer.Argument(help="Part of a log group's name, such as catalogue or TrainingJobs.")
    ] = None,
    find: Annotated[
        str | None, typer.Option("--find", help="Only lines with this text, for example a correlation id.")
    ] = None,
    minutes: Annotated[int, typer.Option("--minutes", min=1, max=43200, help="How far back.")] = 30,
    limit: Limit = 50,
) -> None:
    """Show what functions, jobs, endpoint and state machines logged, oldest first."""
    since = datetime.now(UTC).timestamp() - 60 * minutes
    lines = logs.lines(cloud, group, find, since, limit)
    out.result([line.as_document() for line in lines], lambda: render.log_lines(lines))
