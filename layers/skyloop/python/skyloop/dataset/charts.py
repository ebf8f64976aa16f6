"""Small inline SVG charts for reports: no script, no font, nothing to fetch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise

from skyloop.documents import Split

COLORS: dict[Split, str] = {"train": "#2f6f9f", "validation": "#e0a030", "test": "#b8443c"}

_ROW, _BAR, _LABELS, _WIDTH = 26, 16, 240, 920


def stacked_bars(rows: Mapping[str, Mapping[Split, int]]) -> str:
    """One horizontal bar per row, its parts colored by split, its total written behind it."""
    longest = max((sum(parts.values()) for parts in rows.values()), default=0) or 1
    height = _ROW * len(rows)
    marks = []
    for number, (name, parts) in enumerate(rows.items()):
        top, left = number * _ROW, float(_LABELS)
        marks.append(_text(_LABELS - 8, top + 17, _short(name), anchor="end"))
        for split, count in parts.items():
            width = count / longest * (_WIDTH - _LABELS - 70)
            if count:
                marks.append(
                    f'<rect x="{left:.1f}" y="{top + 5}" width="{width:.1f}" height="{_BAR}" fill="{COLORS[split]}">'
                    f"<title>{escape(name)}, {split}: {count:,}</title></rect>"
                )
            left += width
        marks.append(_text(left + 6, top + 17, f"{sum(parts.values()):,}"))
    return _svg(_WIDTH, height, marks)


def histogram(counts: Sequence[int], edges: Sequence[float], unit: str) -> str:
    """One column for each edge: how many values lie from it to the next edge, or above the last one."""
    spans = [f"{low:g}–{high:g}" for low, high in pairwise(edges)] + [f"≥ {edges[-1]:g}"]
    tallest, step, height = max(counts) or 1, _WIDTH / len(counts), 150
    marks = []
    for number, (span, count) in enumerate(zip(spans, counts, strict=True)):
        column = count / tallest * (height - 20)
        left = number * step
        title = f"{span} {unit}: {count:,}"
        marks.append(
            f'<rect x="{left + 2:.1f}" y="{height - column:.1f}" width="{step - 4:.1f}" height="{column:.1f}"'
            f' fill="#5b7f95"><title>{escape(title)}</title></rect>'
        )
        if count:
            marks.append(_text(left + step / 2, height - column - 5, f"{count:,}", anchor="middle"))
        marks.append(_text(left + step / 2, height + 16, span, anchor="middle"))
    return _svg(_WIDTH, height + 24, marks)


def legend() -> str:
    """What the colors mean, as HTML."""
    chips = (f'<span><i style="background:{color}"></i>{split}</span>' for split, color in COLORS.items())
    return f'<p class="legend">{"".join(chips)}</p>'


def _svg(width: float, height: float, marks: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img">{"".join(marks)}</svg>'


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _short(name: str, length: int = 28) -> str:
    return name if len(name) <= length else f"…{name[1 - length :]}"
