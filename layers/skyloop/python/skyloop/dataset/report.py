"""The dataset's report: one self-contained HTML page that shows what the next model will be trained on."""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO

from skyloop.dataset.charts import COLORS, histogram, legend, stacked_bars
from skyloop.dataset.dataset import SIZE_EDGES, Tally
from skyloop.dataset.labels import LabeledImage
from skyloop.documents import SPLITS, DatasetDocument, Finding, Split
from skyloop.formats.pictures import open_picture
from skyloop.layout import RAW_IMAGES

THUMBNAIL = 400
"""Pixels, the longer side."""

MOST_FLIGHTS = 40
"""Flights drawn one by one; all others are one row."""

_RUNS = re.compile(r"(\D*)(\d*)")
_MARKS = {"ok": "✓", "warning": "!", "error": "✗"}

_STYLE = """
:root { color-scheme: light dark; --line: #8884; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
  overflow-wrap: break-word; }
h1 { font-size: 1.6rem; margin-bottom: 0; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
.lead { opacity: .75; margin-top: .2rem; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: right; padding: .25rem .6rem; width: 6rem; }
th:first-child, td:first-child { text-align: left; width: auto; } tr { border-bottom: 1px solid var(--line); }
svg { width: 100%; height: auto; overflow: visible; }
svg text { font: 14px system-ui, sans-serif; fill: currentColor; }
.legend span { margin-right: 1.2rem; }
.legend i { display: inline-block; width: .8em; height: .8em; margin-right: .4em; }
ul.checks { list-style: none; padding: 0; } .checks li { padding: .2rem 0 .2rem 2rem; position: relative; }
.checks b { position: absolute; left: .3rem; } .error b { color: #c0392b; } .warning b { color: #c77d00; }
.ok b { color: #2e8b57; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: 1rem; }
figure { margin: 0; } figure svg { border-radius: 4px; background: #0002; }
figcaption { font-size: .85rem; opacity: .8; overflow-wrap: anywhere; }
"""


@dataclass(frozen=True)
class Example:
    """A picture shown in the report, shrunk and embedded."""

    split: Split
    picture: LabeledImage
    source: str

    @classmethod
    def of(cls, split: Split, picture: LabeledImage, body: bytes) -> Example:
        """Shrink the picture file `body`. Raises ImageRefused."""
        small = open_picture(body).show()
        small.thumbnail((THUMBNAIL, THUMBNAIL))
        buffer = BytesIO()
        small.save(buffer, "JPEG", quality=80)
        return cls(split, picture, f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}")


def render_dataset_report(document: DatasetDocument, tally: Tally, examples: Sequence[Example]) -> str:
    """The page, as HTML text."""
    fit = not any(finding.severity == "error" for finding in document.checks)
    verdict = "fit to train on" if fit else "not fit to train on yet"
    classes = {name: {split: document.class_boxes[split][name] for split in SPLITS} for name in document.categories}
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Dataset {escape(document.dataset_id)}</title><style>{_STYLE}</style>
<h1>Dataset {escape(document.dataset_id)}</h1>
<p class="lead"><b>{verdict}</b> · {document.created_at:%Y-%m-%d %H:%M} UTC · completed by labeling job
{escape(document.labeling_job)} · correlation id {escape(document.correlation_id)}
· test set {escape(document.test_set_id)}</p>
<ul class="checks">{"".join(_finding(finding) for finding in document.checks)}</ul>
<h2>What is in it</h2>
{_counts(document)}
<h2>Boxes of each class</h2>
{legend()}{stacked_bars(classes)}
<h2>Images of each flight</h2>
<p>A flight, or a block of consecutive frames of a large one, lies in one split and stays there.</p>
{stacked_bars(_flights(tally))}
<h2>Box sizes</h2>
<p>Root of the area, in pixels of the whole pictures.</p>
{histogram(tally.sizes, SIZE_EDGES, "pixels")}
<h2>A look at it</h2>
<div class="pictures">{"".join(_figure(example) for example in examples)}</div>
</html>
"""


def _finding(finding: Finding) -> str:
    return f'<li class="{finding.severity}"><b>{_MARKS[finding.severity]}</b>{escape(finding.message)}</li>'


def _counts(document: DatasetDocument) -> str:
    """Splits as columns: three fit on any page, one column per class would not."""
    head = "".join(f"<th>{name}</th>" for name in ("", *SPLITS, "all"))
    lines = [
        ("pictures", [document.counts[split].images for split in SPLITS]),
        ("boxes", [document.counts[split].boxes for split in SPLITS]),
        *((f"· {name}", [document.class_boxes[split][name] for split in SPLITS]) for name in document.categories),
    ]
    rows = "".join(
        f"<tr><td>{escape(name)}</td>{''.join(f'<td>{cell:,}</td>' for cell in (*cells, sum(cells)))}</tr>"
        for name, cells in lines
    )
    return f"<table><tr>{head}</tr>{rows}</table>"


def _flights(tally: Tally) -> dict[str, dict[Split, int]]:
    rows = {
        flight: {split: tally.flights[flight][split] for split in SPLITS} for flight in natural_order(tally.flights)
    }
    if len(rows) <= MOST_FLIGHTS:
        return rows
    largest = sorted(rows, key=lambda flight: -sum(rows[flight].values()))[:MOST_FLIGHTS]
    others: Counter[Split] = Counter()
    for flight in rows.keys() - set(largest):
        others.update(rows[flight])
    shown = {flight: rows[flight] for flight in natural_order(largest)}
    return {**shown, f"{len(rows) - len(largest)} others": {split: others[split] for split in SPLITS}}


def natural_order(names: Iterable[str]) -> list[str]:
    """Sorted as a person would: `line-2` before `line-10`."""
    return sorted(names, key=lambda name: [(text, int(run or -1)) for text, run in _RUNS.findall(name)])


def _figure(example: Example) -> str:
    picture, color = example.picture, COLORS[example.split]
    rectangles = "".join(
        f'<rect x="{box.left:.1f}" y="{box.top:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" fill="none"'
        f' stroke="{color}" stroke-width="2" vector-effect="non-scaling-stroke">'
        f"<title>{escape(box.category)}</title></rect>"
        for box in picture.boxes
    )
    boxes = "1 box" if len(picture.boxes) == 1 else f"{len(picture.boxes)} boxes"
    file = escape(picture.source_key.removeprefix(RAW_IMAGES))
    return (
        f'<figure><svg viewBox="0 0 {picture.width} {picture.height}"><image href="{example.source}"'
        f' width="{picture.width}" height="{picture.height}"/>{rectangles}</svg>'
        f"<figcaption>{example.split} · {file} · {boxes}</figcaption></figure>"
    )
