"""`status`, `watch`, `alerts`, `logs`: what there is, what happens, what went wrong."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.live import Live

from cli import alerts, logs, render, snapshot
from cli.cloud import Cloud
from cli.command import command
from cli.output import Output
from cli.timeline import Timeline
from laptop.storing import shortage

QUIET_LOOKS = 3  # looks in a row that must find nothing going on: events take a moment from service to service

Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=100, help="Rows of each list.")]


@command
def status(cloud: Cloud, out: Output, limit: Limit = 10) -> None:
    """Show the state of everything, on one screen."""
    now = snapshot.with_evaluation(cloud, snapshot.take(cloud, limit))
    out.result(now.as_document(), lambda: render.status(now))


@command
def watch(
    cloud: Cloud,
    out: Output,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on when everything is at rest.")] = False,
    every: Annotated[float, typer.Option("--every", min=0.2, max=60, help="Seconds between two looks.")] = 1.0,
) -> None:
    """Follow what happens, live, until everything is at rest or Ctrl-C."""
    timeline, started, quiet = Timeline(cloud), time.time(), 0
    live = Live(render.activity_line(None), console=out.console, refresh_per_second=8, transient=True)
    with live:
        while quiet < QUIET_LOOKS or follow:
            events = timeline.look()
            for event in events:
                out.line(event.as_document(), render.timeline_line(event, started))
            live.update(render.activity_line(timeline.now))
            at_rest = timeline.now is not None and timeline.now.idle and not events
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
    if cloud.home and (full := shortage(cloud.home)):  # nothing can be alerted then
        out.warn(full)
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
