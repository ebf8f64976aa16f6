"""Metrics that CloudWatch reads from logs: what a metric filter matches, and CloudWatch's embedded metric format.

Sources: "Filter pattern syntax for metric filters" (JSON log events) in the CloudWatch Logs user guide, and
"Specification: Embedded metric format" in the CloudWatch user guide.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Iterator
from typing import Any

from ministack.core.responses import error_response_json
from ministack.services import cloudwatch, cloudwatch_logs

from laptop.documents import Document
from laptop.ministack_patches.patching import Original, patch

Matches = Callable[[Any], bool]

# Of the whole syntax, one comparison of one member: { $.member = * }, { $.a.b >= 5 }, { $.member = "text" }.
_PATTERN = re.compile(r'\{\s*(\$(?:\.\w+)+)\s*(!=|<=|>=|=|<|>)\s*(\*|"[^"*]*"|-?\d+(?:\.\d+)?)\s*\}')
_NUMBERS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_MISSING = object()


def matcher(pattern: str) -> Matches | None:
    """Which JSON documents a filter pattern matches; None for a pattern that the laptop cannot match by."""
    if not pattern.strip():
        return lambda _: True
    parsed = _PATTERN.fullmatch(pattern.strip())
    if parsed is None:
        return None
    path, sign, value = parsed.groups()
    if value == "*":
        return (lambda document: _at(document, path) is not _MISSING) if sign == "=" else None
    if value.startswith('"'):
        return _compare(path, _NUMBERS[sign], value[1:-1], str) if sign in ("=", "!=") else None
    return _compare(path, _NUMBERS[sign], float(value), (int, float))


def _compare(path: str, compare: Callable[[Any, Any], bool], value: Any, kind: Any) -> Matches:
    def matches(document: Any) -> bool:
        found = _at(document, path)
        return isinstance(found, kind) and not isinstance(found, bool) and compare(found, value)

    return matches


def _at(document: Any, path: str) -> Any:
    for name in path.split(".")[1:]:
        if not isinstance(document, dict) or name not in document:
            return _MISSING
        document = document[name]
    return document


@patch(
    "services.cloudwatch_logs:_put_metric_filter",
    because="MiniStack takes every pattern, and the laptop reads metrics by some only",
    proof="test_log_metrics.py::test_what_is_not_read_is_refused",
)
def _put_metric_filter(original: Original, data: Document) -> Any:
    if matcher(data.get("filterPattern") or "") is None:
        text = f"The laptop cloud matches log lines by one comparison of one member, not by {data['filterPattern']}."
        return error_response_json("NotImplemented", text, 501)
    return original(data)


@patch(
    "services.cloudwatch_logs:_fanout_to_subscription_filters",
    because="MiniStack makes no metrics of log lines",
    proof="test_log_metrics.py::test_a_metric_filter_makes_metrics_of_lines",
)
def _read_metrics(original: Original, group: str, stream: str, events: list[Document]) -> None:
    original(group, stream, events)
    filters = [one for one in cloudwatch_logs._metric_filters.values() if one["logGroupName"] == group]
    data = [datum for event in events for datum in _data(event, filters)]
    for namespace, name, dimensions, at, unit, values in data:
        cloudwatch._store_datum(namespace, name, dimensions, at, unit, None, values, None, None)
    if data:
        cloudwatch._evaluate_all_alarms()


Datum = tuple[str, str, dict[str, str], float, str, list[float]]
"""Namespace, name, dimensions, the time in seconds, unit and values."""


def _data(event: Document, filters: list[Document]) -> Iterator[Datum]:
    line = event.get("message", "")
    if not filters and '"_aws"' not in line:
        return
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        document = None
    for one in filters:
        matches = matcher(one["filterPattern"])
        if matches is not None and matches(document):
            for transformation in one["metricTransformations"]:
                yield from _transformed(transformation, document, event["timestamp"] / 1000)
    if isinstance(document, dict) and "_aws" in document:
        try:
            yield from [*_embedded(document)]
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
            return  # CloudWatch ignores a line that is not of the format


def _transformed(transformation: Document, document: Any, at: float) -> Iterator[Datum]:
    """Nothing where the value is no number, or a dimension is not there."""
    given = transformation["metricValue"]
    value = _at(document, given) if given.startswith("$") else given
    dimensions = {name: _at(document, path) for name, path in transformation.get("dimensions", {}).items()}
    if value is _MISSING or isinstance(value, bool) or _MISSING in dimensions.values():
        return
    try:
        values = [float(value)]
    except (ValueError, TypeError, OverflowError):
        return
    texts = {name: str(value) for name, value in dimensions.items()}
    unit = transformation.get("unit", "None")
    yield transformation["metricNamespace"], transformation["metricName"], texts, at, unit, values


def _embedded(document: Document) -> Iterator[Datum]:
    """Raises ValueError, KeyError, TypeError or AttributeError where a document is not of the format."""
    at = document["_aws"]["Timestamp"] / 1000
    for directive in document["_aws"]["CloudWatchMetrics"]:
        for names in directive.get("Dimensions") or [[]]:
            dimensions = {name: str(document[name]) for name in names}
            for metric in directive["Metrics"]:
                values = document[metric["Name"]]
                numbers = [float(value) for value in (values if isinstance(values, list) else [values])]
                yield directive["Namespace"], metric["Name"], dimensions, at, metric.get("Unit", "None"), numbers
