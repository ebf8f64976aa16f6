"""Metric math: the expressions of alarms that look at several metrics.

Source: "Using math expressions with CloudWatch metrics" in the CloudWatch user guide. Of its syntax the laptop cloud
knows numbers, the ids of metrics, + - * /, comparisons, AND, OR and IF(condition, then, else): each computes a value of
one period from the values of that period.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from laptop.documents import Document

_WORDS = re.compile(r"\b(AND|OR)\b|&&|\|\|")
_SAID = {"AND": "and", "OR": "or", "&&": "and", "||": "or"}
_ARITHMETIC: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: lambda one, other: one / other if other else 0.0,
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


class Unsupported(ValueError):
    """An alarm's metrics that the laptop cloud cannot compute. The text says what."""


def check(metrics: list[Document]) -> None:
    """Raise Unsupported unless these are metrics with a statistic each and one expression that gives the value."""
    expressions = [one for one in metrics if "Expression" in one]
    ids = {one["Id"] for one in metrics if "MetricStat" in one}
    if len(expressions) != 1 or len(ids) != len(metrics) - 1:
        raise Unsupported("The laptop cloud takes alarms of one expression over metrics, each with an id of its own.")
    if expressions[0].get("ReturnData", True) is False or any(one.get("ReturnData", True) for one in _stats(metrics)):
        raise Unsupported("The expression must return data, and the metrics must not.")
    if len({one["MetricStat"]["Period"] for one in _stats(metrics)}) != 1:
        raise Unsupported("The laptop cloud takes metrics of one period.")
    compute(expressions[0]["Expression"], dict.fromkeys(ids, 1.0))


def stats_of(alarm: Document) -> list[Document]:
    """What an alarm looks at: MetricStat of each metric, with its Id; of an alarm of one metric alone, in that form."""
    if alarm.get("Metrics"):
        return [{"Id": one["Id"], **one["MetricStat"]} for one in _stats(alarm["Metrics"])]
    metric = {
        "Namespace": alarm.get("Namespace"),
        "MetricName": alarm.get("MetricName"),
        "Dimensions": alarm.get("Dimensions") or [],
    }
    statistic = alarm.get("ExtendedStatistic") or alarm.get("Statistic") or "Average"
    period = alarm.get("Period") or 60
    return [{"Id": "metric", "Metric": metric, "Stat": statistic, "Period": period, "Unit": alarm.get("Unit")}]


def expression_of(alarm: Document) -> str:
    """The one expression of an alarm that has some."""
    return str(next(one["Expression"] for one in alarm["Metrics"] if "Expression" in one))


def _stats(metrics: list[Document]) -> list[Document]:
    return [one for one in metrics if "MetricStat" in one]


def compute(expression: str, values: Mapping[str, float]) -> float:
    """The value of an expression for one period, given those of the metrics. Raises Unsupported."""
    try:
        tree = ast.parse(_WORDS.sub(lambda found: f" {_SAID[found[0]]} ", expression).strip(), mode="eval")
    except SyntaxError as error:
        raise Unsupported(f"The laptop cloud cannot compute {expression!r}.") from error
    return float(_value(tree.body, values))


def _value(node: ast.expr, values: Mapping[str, float]) -> Any:
    match node:
        case ast.Constant(value=int() | float() as number):
            return number
        case ast.Name(id=name) if name in values:
            return values[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, values)
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _ARITHMETIC:
            return _ARITHMETIC[type(sign)](_value(left, values), _value(right, values))
        case ast.Compare(left=left, ops=[sign], comparators=[right]) if type(sign) in _COMPARISONS:
            return _COMPARISONS[type(sign)](_value(left, values), _value(right, values))
        case ast.BoolOp(op=sign, values=parts):
            known = [bool(_value(part, values)) for part in parts]
            return all(known) if isinstance(sign, ast.And) else any(known)
        case ast.Call(func=ast.Name(id="IF"), args=[condition, then, otherwise], keywords=[]):
            ways = (_value(otherwise, values), _value(then, values))
            return ways[bool(_value(condition, values))]
    raise Unsupported(f"The laptop cloud cannot compute {ast.unparse(node)!r} in an expression.")
