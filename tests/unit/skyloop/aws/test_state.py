"""skyloop.aws.state: small facts, plain values, conditional writes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from skyloop.aws.dynamodb import from_attributes, to_attributes

from tests.support.account import put_state

PLAIN = st.recursive(
    st.booleans() | st.integers(-(10**15), 10**15) | st.floats(-1e6, 1e6, width=32) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1, max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(min_size=1, max_size=5), PLAIN, max_size=4))
def test_plain_values_come_back(item):
    assert from_attributes(to_attributes(item)) == item


def test_none_is_left_out():
    assert from_attributes(to_attributes({"a": None, "b": {"c": None, "d": 1.5}})) == {"b": {"d": 1.5}}


def test_whoever_is_first_stands(state):
    assert state.put_if_absent("split#a", {"split": "train"})
    assert not state.put_if_absent("split#a", {"split": "test"})
    assert state.get("split#a") == {"split": "train"}
    put_state(state, "split#a", {"split": "test", "widths": {"n": 3}})
    assert state.get("split#a") == {"split": "test", "widths": {"n": 3}}
    assert state.get("split#b") is None


@pytest.mark.parametrize("count", [0, 1, 250])
def test_many_are_read_at_once(state, count):
    for number in range(count):
        put_state(state, f"split#{number}", {"number": number})
    names = [f"split#{number}" for number in range(count)] * 2 + ["split#nobody"]
    assert state.get_many(names) == {f"split#{number}": {"number": number} for number in range(count)}


def test_a_change_counts_only_while_nobody_else_changed_it(state):
    assert state.put_if("drift#e", {"state": "OK"}, attribute="state", equals=None)
    assert not state.put_if("drift#e", {"state": "OK"}, attribute="state", equals=None)
    assert state.put_if("drift#e", {"state": "DRIFT"}, attribute="state", equals="OK")
    assert not state.put_if("drift#e", {"state": "OK"}, attribute="state", equals="OK")
    assert state.get("drift#e") == {"state": "DRIFT"}
