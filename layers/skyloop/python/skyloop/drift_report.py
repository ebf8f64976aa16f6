"""A drift report a person can read: one small HTML page, with histograms drawn as inline SVG, and nothing to load."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from skyloop.drift import Judgement, StatisticEvidence
from skyloop.profile import STATISTICS

BINS = 24
WIDTH, HEIGHT = 320, 110  # pixels of one histogram
REFERENCE_COLOUR, WINDOW_COLOUR = "#8a99a8", "#d9622b"

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:1080px;margin:2rem auto;padding:0 1rem;color:#1d2833}
h1{font-size:1.4rem}.DRIFT{color:#b3400f}.OK{color:#2f7d4f}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(330px,1fr));gap:1rem}
figure{margin:0;padding:.6rem;border:1px solid #dde3e8;border-radius:6px}figure.moved{border-color:#d9622b}
figcaption{font-size:.85rem}table{border-collapse:collapse;font-size:.85rem}
td,th{padding:.2rem .7rem;text-align:right;border-bottom:1px solid #dde3e8}
td:first-child,th:first-child{text-align:left}
"""


def render(
    judgement: Judgement, reference: np.ndarray, window: np.ndarray, *, title: str, facts: Sequence[tuple[str, str]]
) -> str:
    """The page. `reference` and `window` are float64 (images, 7), columns in the statistics' order."""
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in judgement.reasons) or "<li>nothing has moved</li>"
    lines = "".join(f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in facts)
    pictures = "".join(
        _figure(evidence, STATISTICS[column].meaning, reference[:, column], window[:, column])
        for column, evidence in enumerate(judgement.statistics)
    )
    rows = "".join(
        f"<tr><td>{e.name}</td><td>{e.ks:.2f}</td><td>{e.p_value:.2g}</td><td>{e.effective_size:.1f}</td>"
        f"<td>{e.outside:.0%}</td><td>{'yes' if e.alarms else 'no'}</td></tr>"
        for e in judgement.novelty
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
        f'<h1>{escape(title)}: <span class="{judgement.decision}">{judgement.decision}</span></h1>'
        f"<p>p = {judgement.p_value:.2g} over all evidence, alarm below {judgement.alpha:g}.</p><ul>{reasons}</ul>"
        f"<table>{lines}</table><h2>Image statistics</h2>"
        f'<p><span style="color:{REFERENCE_COLOUR}">■</span> reference ({judgement.reference} images) '
        f'<span style="color:{WINDOW_COLOUR}">■</span> window ({judgement.window} images)</p>'
        f'<div class="grid">{pictures}</div><h2>Unlike the reference as a whole</h2>'
        "<table><tr><th>evidence</th><th>D+</th><th>p</th><th>effective size</th><th>outside</th><th>alarms</th></tr>"
        f"{rows}</table></html>"
    )


def _figure(evidence: StatisticEvidence, meaning: str, reference: np.ndarray, window: np.ndarray) -> str:
    caption = (
        f"<b>{evidence.name}</b> ({meaning}): median {evidence.median_window:.3g} against "
        f"{evidence.median_reference:.3g} ({evidence.shift:+.1f} sd), D = {evidence.ks:.2f}, "
        f"p = {evidence.p_adjusted:.2g}, worth {evidence.effective_size:.0f} independent images"
    )
    moved = ' class="moved"' if evidence.moved else ""
    return f"<figure{moved}>{_histogram(reference, window)}<figcaption>{caption}</figcaption></figure>"


def _histogram(reference: np.ndarray, window: np.ndarray) -> str:
    """Both samples over common bins, each scaled to its own size."""
    low, high = float(min(reference.min(), window.min())), float(max(reference.max(), window.max()))
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    shares = [np.histogram(sample, BINS, (low, high))[0] / len(sample) for sample in (reference, window)]
    tallest = max(float(share.max()) for share in shares)
    bars = []
    for share, colour in zip(shares, (REFERENCE_COLOUR, WINDOW_COLOUR), strict=True):
        for index in np.flatnonzero(share):
            height = float(share[index]) / tallest * (HEIGHT - 20)
            bars.append(
                f'<rect x="{index * WIDTH / BINS:.1f}" y="{HEIGHT - 16 - height:.1f}" width="{WIDTH / BINS - 1:.1f}" '
                f'height="{height:.1f}" fill="{colour}" fill-opacity="0.65"/>'
            )
    ends = (
        f'<text x="0" y="{HEIGHT - 3}" font-size="11">{low:.3g}</text>'
        f'<text x="{WIDTH}" y="{HEIGHT - 3}" font-size="11" text-anchor="end">{high:.3g}</text>'
    )
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{"".join(bars)}{ends}</svg>'
