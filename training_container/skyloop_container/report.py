"""report.html: the evaluation for a person, in one file without links to others (curves as SVG, images inline)."""

import base64
from collections.abc import Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from skyloop.formats.pictures import RadiometricWindow

from .dataset import Sample, read_image
from .detections import Detections, ScoredImage, Truth
from .inference import Detection
from .metrics import match, match_image
from .slicing import SlicingPlan

PICTURES = 6
PICTURE_SIDE = 560  # pixels
TRUTH, RIGHT, WRONG = "#1c7ed6", "#2f9e44", "#e03131"
LINES = ("#2f9e44", "#868e96")  # candidate, champion

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#212529;background:#fff}
h1{font-size:1.5rem;margin-bottom:0}h2{font-size:1.15rem;margin-top:2.2rem}
p.about{color:#495057;margin-top:.2rem}
table{border-collapse:collapse}th,td{padding:.3rem .8rem;text-align:right;border-bottom:1px solid #dee2e6}
th:first-child,td:first-child{text-align:left}
.row{display:flex;flex-wrap:wrap;gap:1.2rem}figure{margin:0}
figcaption{font-size:.85rem;color:#495057;overflow-wrap:anywhere}
.pictures{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,20rem),1fr));gap:1.2rem}
.pictures svg{display:block;width:100%;height:auto}.key b{margin-right:1em}.wide{overflow-x:auto}
"""


def write_report(
    path: Path,
    evaluation: dict[str, Any],
    samples: Sequence[Sample],
    candidate: Sequence[ScoredImage],
    champion: Sequence[ScoredImage] | None,
    window: RadiometricWindow | None,
) -> None:
    """Write the report.

    Args:
        path: of the file.
        evaluation: the content of evaluation.json.
        samples: the test images.
        candidate: the same images in the same order, with the candidate's detections.
        champion: the same, with the champion's; None where there is none.
        window: the candidate's, through which pictures are shown.
    """
    sections = [
        _head(evaluation),
        _scores_table(evaluation),
        _slicing(evaluation, candidate),
        _engine(evaluation["engine"]),
        _parts_table(evaluation, "size", "Size of the boxes"),
        _parts_table(evaluation, "flight", "Flight"),
        _curves(evaluation, candidate, champion if evaluation["champion"] else None),
        _confusion(evaluation, candidate),
        _pictures(evaluation, samples, candidate, window),
    ]
    body = "\n".join(sections)
    path.write_text(
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>Evaluation of {escape(evaluation['training_job'])}</title><style>{STYLE}</style>{body}</html>",
        encoding="utf-8",
    )


def _head(evaluation: dict[str, Any]) -> str:
    notes = "".join(f"<p>{escape(note)}</p>" for note in evaluation["notes"])
    verdict = f"mAP50 {_number(evaluation['candidate']['map50'])}"
    if comparison := evaluation["comparison"]:
        low, high = comparison["interval"]
        verdict += (
            f", {comparison['map50_difference']:+.3f} against the champion "
            f"({comparison['confidence']:.0%} interval {low:+.3f} to {high:+.3f}, {comparison['method']}, "
            f"{comparison['resamples']} resamples)"
        )
    return (
        f"<h1>Evaluation of {escape(evaluation['training_job'])}</h1>"
        f"<p class=about>Dataset {escape(evaluation['dataset_id'])}, test set {escape(evaluation['test_set_id'])}: "
        f"{evaluation['images']} images, {evaluation['boxes']} boxes; {escape(evaluation['evaluator'])}.</p>"
        f"<p><b>{verdict}</b></p>{notes}"
    )


def _scores_table(evaluation: dict[str, Any]) -> str:
    models = [(name, evaluation[name]) for name in ("candidate", "champion") if evaluation[name]]
    head = "".join(f"<th>{name} AP50<th>{name} AP50–95" for name, _ in models)
    rows = []
    for category, scores in evaluation["candidate"]["per_class"].items():
        cells = "".join(
            f"<td>{_number(model['per_class'].get(category, {}).get('ap50'))}"
            f"<td>{_number(model['per_class'].get(category, {}).get('ap50_95'))}"
            for _, model in models
        )
        rows.append(f"<tr><td>{escape(category)}<td>{scores['boxes']}{cells}")
    means = "".join(f"<td>{_number(model['map50'])}<td>{_number(model['map50_95'])}" for _, model in models)
    rates = "".join(
        f"<p>{name.capitalize()} at confidence {model['confidence']}: precision {_number(model['precision'])}, "
        f"recall {_number(model['recall'])}.</p>"
        for name, model in models
    )
    return (
        f"<h2>Scores</h2><div class=wide><table><tr><th>Category<th>Boxes{head}{''.join(rows)}"
        f"<tr><th>Mean<td>{evaluation['boxes']}{means}</table></div>{rates}"
    )


def _engine(engine: dict[str, Any]) -> str:
    if not engine["measured"]:
        return f"<p>The network is run by {escape(engine['name'])}, as was asked.</p>"
    others = "; ".join(f"{escape(name)} {_measured(one)}" for name, one in engine["measured"].items())
    return f"<p>The network is run by {escape(engine['name'])}, here and where it serves: {others}.</p>"


def _measured(engine: dict[str, Any]) -> str:
    parts = []
    if "milliseconds" in engine:
        parts.append(f"{engine['milliseconds']:.1f} ms a look, {engine['alike']:.0%} alike")
    if "refused" in engine:
        parts.append(escape(engine["refused"]))
    elif "map50" in engine:
        parts.append(
            f"mAP50 {_number(engine['map50'])} on {engine['images']} validation pictures, where float32 has "
            f"{_number(engine['map50_reference'])}"
        )
    return ", ".join(parts)


def _slicing(evaluation: dict[str, Any], images: Sequence[ScoredImage]) -> str:
    slicing, map50 = evaluation["slicing"], evaluation["candidate"]["map50"]
    if slicing["side"] is None:
        return "<p>Every picture is looked at once, as a whole.</p>"
    plan = SlicingPlan(side=slicing["side"])
    if all(plan.count(image.width, image.height) == 1 for image in images):
        return (
            f"<p>Every test picture is looked at once, as a whole: none is large enough for slices of {plan.side} "
            "pixels.</p>"
        )
    beside = " and once as a whole" if slicing["whole"] else ""
    first = " where a coarse look shows something" if slicing["coarse"] is not None else ""
    return (
        f"<p>Large pictures are looked at in slices{first}{beside}, at the scale of slices of {slicing['side']} "
        f"pixels, which is {slicing['cost']:.1f} times the work of one look. Without slices the same model has mAP50 "
        f"{_number(slicing['map50_without'])}, with them {_number(map50)}.</p>"
    )


def _parts_table(evaluation: dict[str, Any], part: str, title: str) -> str:
    """mAP50 of parts of the test set: `by_size` or `by_flight`."""
    models = [(name, evaluation[name]) for name in ("candidate", "champion") if evaluation[name]]
    head = "".join(f"<th>{name} mAP50" for name, _ in models)
    rows = []
    for name, scores in evaluation["candidate"][f"by_{part}"].items():
        cells = "".join(f"<td>{_number(model[f'by_{part}'][name]['map50'])}" for _, model in models)
        rows.append(f"<tr><td>{escape(name)}<td>{scores['boxes']}{cells}")
    return f"<div class=wide><table><tr><th>{title}<th>Boxes{head}{''.join(rows)}</table></div>"


def _curves(
    evaluation: dict[str, Any], candidate: Sequence[ScoredImage], champion: Sequence[ScoredImage] | None
) -> str:
    figures = []
    for category, scores in evaluation["candidate"]["per_class"].items():
        if not scores["boxes"]:
            continue
        lines = []
        for images, color in ((champion, LINES[1]), (candidate, LINES[0])):  # the candidate on top, where they meet
            if images is None or (images is champion and category not in evaluation["champion"]["per_class"]):
                continue
            precision, recall = match(images, category).curve()
            lines.append(_polyline(precision, recall, color))
        figures.append(f"<figure>{_axes(''.join(lines))}<figcaption>{escape(category)}</figcaption></figure>")
    key = f"<p class=key><b style='color:{LINES[0]}'>candidate</b>"
    key += f"<b style='color:{LINES[1]}'>champion</b></p>" if champion else "</p>"
    return f"<h2>Precision over recall, IoU 0.5</h2>{key}<div class=row>{''.join(figures)}</div>"


def _polyline(precision: np.ndarray, recall: np.ndarray, color: str) -> str:
    if len(precision) > 200:  # more points than pixels cannot be seen
        chosen = np.unique(np.linspace(0, len(precision) - 1, 200).astype(int))
        precision, recall = precision[chosen], recall[chosen]
    points = " ".join(f"{40 + 200 * r:.1f},{210 - 200 * p:.1f}" for p, r in zip(precision, recall, strict=True))
    return f"<polyline points='{points}' fill='none' stroke='{color}' stroke-width='2'/>"


def _axes(content: str) -> str:
    ticks = "".join(
        f"<line x1='40' x2='240' y1='{210 - 200 * t}' y2='{210 - 200 * t}' stroke='#e9ecef'/>"
        f"<text x='34' y='{214 - 200 * t}' text-anchor='end'>{t}</text>"
        f"<text x='{40 + 200 * t}' y='226' text-anchor='middle'>{t}</text>"
        for t in (0, 0.5, 1)
    )
    return (
        "<svg viewBox='0 0 260 250' width='260' height='250' font-size='11' fill='#495057' role='img'>"
        f"{ticks}{content}<text x='140' y='244' text-anchor='middle'>recall</text>"
        "<text x='12' y='110' text-anchor='middle' transform='rotate(-90 12 110)'>precision</text></svg>"
    )


def _confusion(evaluation: dict[str, Any], images: Sequence[ScoredImage]) -> str:
    """Which category was taken for which: boxes matched by position alone, at the chosen confidence."""
    names = list(evaluation["candidate"]["per_class"])
    confidence = evaluation["candidate"]["confidence"]
    counts = confusion(images, names, confidence)
    head = "".join(f"<th>{escape(name)}" for name in [*names, "missed"])
    table = [[str(count) for count in row] for row in counts.tolist()]
    table[-1][-1] = "–"  # nothing labeled and nothing detected: cannot be counted
    rows = "".join(
        f"<tr><td>{escape(name)}" + "".join(f"<td>{cell}" for cell in row)
        for name, row in zip([*names, "nothing there"], table, strict=True)
    )
    return (
        f"<h2>Confusion at confidence {confidence}</h2><div class=wide><table>"
        f"<tr><th>Labeled \\ detected{head}{rows}</table></div>"
        "<p>The last column counts boxes that were missed, the last row detections where nothing was labeled.</p>"
    )


def confusion(images: Sequence[ScoredImage], names: Sequence[str], confidence: float) -> np.ndarray:
    """Count labeled boxes by the category they were detected as.

    Returns:
        (n + 1, n + 1) integers: rows are labeled categories and "nothing", columns detected ones and "missed".
    """
    counts = np.zeros((len(names) + 1, len(names) + 1), dtype=int)
    index = {name: i for i, name in enumerate(names)}
    for image in images:
        confident = [d for d in image.detections if d.confidence >= confidence and d.category in index]
        # With one category for all, the match is by position alone.
        blind = ScoredImage(
            image.name,
            image.width,
            image.height,
            [replace(t, category="") for t in image.truth],
            Detections([replace(d, category="") for d in confident]),
        )
        found, _ = match_image(blind, "")
        for detection, match_index in zip(confident, found, strict=True):
            row = index[image.truth[match_index].category] if match_index >= 0 else len(names)
            counts[row, index[detection.category]] += 1
        for number, truth in enumerate(image.truth):
            if number not in found:
                counts[index[truth.category], len(names)] += 1
    return counts


def _pictures(
    evaluation: dict[str, Any],
    samples: Sequence[Sample],
    images: Sequence[ScoredImage],
    window: RadiometricWindow | None,
) -> str:
    """Some test images, evenly spaced from the one with most boxes to the one with fewest."""
    order = sorted(range(len(images)), key=lambda i: (-len(images[i].truth), images[i].name))
    chosen = [order[i] for i in np.unique(np.linspace(0, len(order) - 1, min(PICTURES, len(order))).astype(int))]
    confidence = evaluation["candidate"]["confidence"]
    figures = "".join(_picture(samples[i], images[i], confidence, window) for i in chosen)
    key = (
        f"<p class=key><b style='color:{TRUTH}'>labeled (dashed)</b><b style='color:{RIGHT}'>detected, right</b>"
        f"<b style='color:{WRONG}'>detected, wrong</b></p>"
    )
    return f"<h2>Test images</h2>{key}<div class=pictures>{figures}</div>"


def _picture(sample: Sample, image: ScoredImage, confidence: float, window: RadiometricWindow | None) -> str:
    """The whole picture; of a large one also the part with most mistakes, in its own pixels."""
    pixels = read_image(sample, window)
    right = {name: match_image(image, name)[0] for name in {d.category for d in image.detections}}
    seen = dict.fromkeys(right, 0)
    shown: list[tuple[Detection, int]] = []
    for detection in image.detections:
        found = int(right[detection.category][seen[detection.category]])
        seen[detection.category] += 1
        if detection.confidence >= confidence:
            shown.append((detection, found))
    boxes = "".join(
        [_rectangle(truth, TRUTH, "6 3") for truth in image.truth]
        + [_rectangle(detection, RIGHT if found >= 0 else WRONG, "") for detection, found in shown]
    )
    name, whole = escape(sample.name), _figure(pixels, (0, 0, image.width, image.height), boxes)
    if max(image.width, image.height) <= 2 * PICTURE_SIDE or not (image.truth or shown):
        return f"<figure>{whole}<figcaption>{name}</figcaption></figure>"
    hit = {found for _, found in shown}
    mistakes: list[Detection | Truth] = [truth for number, truth in enumerate(image.truth) if number not in hit]
    mistakes += [detection for detection, found in shown if found < 0]
    part = densest_part(mistakes or image.truth, image.width, image.height)
    about = f"{name}, {part[2]} × {part[3]} pixels from {part[0]}, {part[1]} on"
    return (
        f"<figure>{whole}<figcaption>{name}</figcaption></figure>"
        f"<figure>{_figure(pixels, part, boxes)}<figcaption>{about}</figcaption></figure>"
    )


def densest_part(boxes: Sequence[Detection | Truth], width: int, height: int) -> tuple[int, int, int, int]:
    """Of a picture's parts around its boxes, at most PICTURE_SIDE on a side, the one with most of their centers.

    Returns:
        Left, top, width and height in pixels.
    """
    centers = np.array([(box.left + box.width / 2, box.top + box.height / 2) for box in boxes])
    size = np.minimum((width, height), PICTURE_SIDE)
    corners = np.clip(np.round(centers - size / 2), 0, np.array((width, height)) - size).astype(int)
    held = [int(np.all((centers >= corner) & (centers <= corner + size), axis=1).sum()) for corner in corners]
    left, top = corners[int(np.argmax(held))].tolist()
    return left, top, *size.tolist()


def _figure(pixels: np.ndarray, part: tuple[int, int, int, int], boxes: str) -> str:
    """A part of a picture (left, top, width and height), no larger than PICTURE_SIDE, with what lies on it."""
    left, top, width, height = part
    cut = pixels[top : top + height, left : left + width]
    scale = min(PICTURE_SIDE / max(width, height), 1.0)
    if scale < 1:
        cut = cv2.resize(
            cut, (max(round(width * scale), 1), max(round(height * scale), 1)), interpolation=cv2.INTER_AREA
        )
    _, data = cv2.imencode(".jpg", cv2.cvtColor(cut, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 80])
    picture = base64.b64encode(data.tobytes()).decode("ascii")
    return (
        f"<svg viewBox='{left} {top} {width} {height}'><image href='data:image/jpeg;base64,{picture}' x='{left}' "
        f"y='{top}' width='{width}' height='{height}'/>{boxes}</svg>"
    )


def _rectangle(box: Detection | Truth, color: str, dashes: str) -> str:
    return (
        f"<rect x='{box.left:.1f}' y='{box.top:.1f}' width='{box.width:.1f}' height='{box.height:.1f}' fill='none' "
        f"stroke='{color}' stroke-width='2' vector-effect='non-scaling-stroke' stroke-dasharray='{dashes}'>"
        f"<title>{escape(box.category)}</title></rect>"
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
