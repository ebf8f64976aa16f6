"""Metric math, without a cloud."""

from __future__ import annotations

import pytest

from laptop.ministack_patches.metric_math import Unsupported, compute

VALUES = {"a": 8.0, "b": 2.0, "zero": 0.0}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("a", 8),
        ("a + b * 3", 14),
        ("(a + b) * 3 / 2 - -1", 16),
        ("a / zero", 0),
        ("a > b", 1),
        ("IF(a >= 8 AND b <= 2, 5, 7)", 5),
        ("IF(a < 8 || b != 2, 5, 7)", 7),
        ("IF(a == 8 && zero, 5, IF(a OR zero, b, a))", 2),
    ],
)
def test_an_expression_has_a_value(expression: str, value: float) -> None:
    assert compute(expression, VALUES) == value


@pytest.mark.parametrize(
    "expression",
    ["", "c", "a -", "a; b", "SUM(a)", "IF(a, b)", "a.b", "'a'", "a[0]", "a ** b", "a < b < a", "__import__"],
)
def test_what_is_not_known_is_refused(expression: str) -> None:
    with pytest.raises(Unsupported, match="cannot compute"):
        compute(expression, VALUES)
