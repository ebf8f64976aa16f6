"""A drift report a person can read: one small HTML page, with histograms drawn as inline SVG, and nothing to load."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from skyloop.documents import Judgment, StatisticEvidence
from skyloop.formats.profile import STATISTICS

MOST_BINS = 24
WIDTH, HEIGHT = 320, 110  # pixels of one histogram
REFERENCE_COLOR, WINDOW_COLOR = "#8a99a8", "#d9622b"

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:1080px;margin:2rem auto;padding:0 1rem;color:#1d2833;background:#fff;
overflow-wrap:break-word}
h1{font-size:1.4rem}.DRIFT{color:#b3400f}.OK{color:#2f7d4f}
.facts{table-layout:fixed;width:100%}.facts td{text-align:left;overflow-wrap:anywhere}
.facts td:first-child{width:9rem;color:#5b6b7a}.key span{margin-right:1.2rem}.lead{font-size:1.05rem}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,300px),1fr));gap:1rem}
figure{margin:0;padding:.6rem;border:1px solid #dde3e8;border-radius:6px}figure.moved{border:2px solid #d9622b}
figure svg{display:block;width:100%;height:auto;margin-bottom:.4rem}
figcaption{font-size:.85rem}figcaption small{display:block;color:#5b6b7a}figcaption em{color:#b3400f;font-style:normal}
table{border-collapse:collapse;font-size:.85rem}
td,th{padding:.2rem .7rem;text-align:right;border-bottom:1px solid #dde3e8}
td:first-child,th:first-child{text-align:left}
"""


def render(
    judgment: Judgment,
    reference: NDArray[np.float64],
    window: NDArray[np.float64],
    *,
    title: str,
    facts: Sequence[tuple[str, str]],
) -> str:
    """The page. `reference` and `window` are (images, statistics), columns in the order of `judgment.statistics`."""
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in judgment.reasons) or "<li>nothing has moved</li>"
    lines = "".join(f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in facts)
    pictures = "".join(
        _figure(evidence, STATISTICS[evidence.name].meaning, reference[:, column], window[:, column])
        for column, evidence in enumerate(judgment.statistics)
    )
    rows = "".join(
        f"<tr><td>{e.name}</td><td>{e.ks:.2f}</td><td>{e.p_value:.2g}</td><td>{e.effective_size:.1f}</td>"
        f"<td>{e.outside:.0%}</td><td>{'yes' if e.alarms else 'no'}</td></tr>"
        for e in judgment.novelty
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style>"
        f'<h1>{escape(title)}: <span class="{judgment.decision}">{judgment.decision}</span></h1>'
        f'<ul class="lead">{reasons}</ul>'
        f"<p>p = {judgment.p_value:.2g} over all evidence, alarm below {judgment.alpha:g}.</p>"
        f'<table class="facts">{lines}</table><h2>Image statistics</h2>'
        '<p class="key">'
        f'<span><b style="color:{REFERENCE_COLOR}">■</b> reference ({judgment.reference} images)</span>'
        f'<span><b style="color:{WINDOW_COLOR}">■</b> window ({judgment.window} images)</span></p>'
        f'<div class="grid">{pictures}</div><h2>Unlike the reference as a whole</h2>'
        "<table><tr><th>evidence</th><th>D+</th><th>p</th><th>effective size</th><th>outside</th><th>alarms</th></tr>"
        f"{rows}</table>{_not_compared(judgment)}</html>"
    )


def _not_compared(judgment: Judgment) -> str:
    lines = "".join(f"<li>{escape(name)}: {escape(reason)}</li>" for name, reason in judgment.not_compared.items())
    return f"<h2>Not compared</h2><ul>{lines}</ul>" if lines else ""


def _figure(
    evidence: StatisticEvidence, meaning: str, reference: NDArray[np.float64], window: NDArray[np.float64]
) -> str:
    moved = ' class="moved"' if evidence.moved else ""
    remark = " <em>has moved</em>" if evidence.moved else ""
    return (
        f"<figure{moved}>{_histogram(reference, window)}<figcaption><b>{evidence.name}</b> ({meaning}){remark}<br>"
        f"median {evidence.median_window:.3g}, reference {evidence.median_reference:.3g}"
        f"<small>shift {round(evidence.shift, 1) + 0.0:+.1f} sd, D = {evidence.ks:.2f}, p = {evidence.p_adjusted:.2g}, "
        f"worth {evidence.effective_size:.0f} independent images</small></figcaption></figure>"
    )


def _histogram(reference: NDArray[np.float64], window: NDArray[np.float64]) -> str:
    """Both samples over common bins, each scaled to its own size; few images get few bins."""
    bins = int(np.clip(2 * min(len(reference), len(window)) ** 0.5, 6, MOST_BINS))
    low, high = float(min(reference.min(), window.min())), float(max(reference.max(), window.max()))
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    shares = [np.histogram(sample, bins, (low, high))[0] / len(sample) for sample in (reference, window)]
    tallest = max(float(share.max()) for share in shares)
    bars = []
    for share, color in zip(shares, (REFERENCE_COLOR, WINDOW_COLOR), strict=True):
        for index in np.flatnonzero(share):
            height = float(share[index]) / tallest * (HEIGHT - 20)
            bars.append(
                f'<rect x="{index * WIDTH / bins:.1f}" y="{HEIGHT - 16 - height:.1f}" width="{WIDTH / bins - 1:.1f}" '
                f'height="{height:.1f}" fill="{color}" fill-opacity="0.65"/>'
            )
    ends = (
        f'<text x="0" y="{HEIGHT - 3}" font-size="11">{low:.3g}</text>'
        f'<text x="{WIDTH}" y="{HEIGHT - 3}" font-size="11" text-anchor="end">{high:.3g}</text>'
    )
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{"".join(bars)}{ends}</svg>'
