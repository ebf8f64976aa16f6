"""Tells the story while it happens, and remembers every line for the report."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

from rich.console import Console
from rich.live import Live
from rich.rule import Rule
from rich.text import Text

from cli.render import activity_line, timeline_line
from cli.snapshot import Snapshot
from cli.timeline import Level, TimelineEvent


@dataclass(frozen=True)
class Line:
    """One line of the story: seconds since the start, the act that it belongs to."""

    elapsed: float
    act: str
    event: TimelineEvent


@dataclass
class Narrator:
    """Prints lines with elapsed seconds; while `live` is open, the last line shows what runs at the moment."""

    console: Console
    started: float = field(default_factory=time.time)
    lines: list[Line] = field(default_factory=list)
    acts: list[str] = field(default_factory=list)
    live: Live | None = None

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.time() - self.started

    def act(self, title: str) -> None:
        """Begin an act."""
        self.acts.append(title)
        self.console.print()
        self.console.print(Rule(Text(title, "bold"), align="left"))

    def tell(self, event: TimelineEvent) -> None:
        """A line of the timeline."""
        at = max(0.0, event.at.timestamp() - self.started)
        self.lines.append(Line(at, self.acts[-1] if self.acts else "", event))
        self.console.print(timeline_line(event, self.started))

    def say(self, text: str, level: Level = "info", stage: str = "demo") -> None:
        """A line of the demo itself."""
        self.tell(TimelineEvent(datetime.now(UTC), stage, text, level))

    def show(self, now: Snapshot | None, more: str = "") -> None:
        """Refresh the last line; `more` is added to it."""
        if self.live is not None:
            self.live.update(activity_line(now, more))
