"""The page at the end: everything that happened, with pictures, in one file that needs nothing else."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from demo.imagery import LICENSE
from demo.narrator import Narrator
from demo.pictures import Picture
from demo.play import Row

TEMPLATES = Path(__file__).parent


def render_page(
    narrator: Narrator,
    rows: list[Row],
    pictures: list[Picture],
    artifacts: dict[str, str],
    *,
    base: str,
    failure: str | None,
    made_at: datetime,
) -> str:
    """The page as HTML. `artifacts`: caption -> path relative to the page; `failure`: why the story stopped."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.jinja").render(
        acts=[
            {
                "title": act,
                "lines": [line for line in narrator.lines if line.act == act],
                "pictures": [picture for picture in pictures if picture.act == act],
            }
            for act in narrator.acts
        ],
        rows=rows,
        artifacts=artifacts,
        base=base,
        failure=failure,
        made_at=made_at.strftime("%Y-%m-%d %H:%M"),
        seconds=round(narrator.elapsed),
        license=LICENSE,
    )
