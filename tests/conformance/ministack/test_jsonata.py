"""JSONata as Step Functions evaluates it: every function that the preflight lets through, in one execution."""

from __future__ import annotations

from typing import Any

from laptop import supported_features

# Expected results from JSONata's documentation (2.0) and, for Step Functions' own functions, its developer guide.
CASES: dict[str, list[tuple[str, Any]]] = {
    "abs": [("$abs(-3)", 3)],
    "append": [("$append([1], [2, 3])", [1, 2, 3])],
    "average": [("$average([1, 2, 6])", 3)],
    "boolean": [("$boolean('')", False), ("$boolean([0])", False), ("$boolean('x')", True)],
    "ceil": [("$ceil(1.2)", 2)],
    "contains": [("$contains('job-1', 'job')", True), ("$contains('a1', /[0-9]/)", True)],
    "count": [("$count([1, 2])", 2), ("$count([])", 0)],
    "distinct": [("$distinct([1, 1, 2])", [1, 2])],
    "each": [("$each({'a': 1, 'b': 2}, function($v, $k) { $k & $string($v) })", ["a1", "b2"])],
    "exists": [("$exists($states.input.n)", True), ("$exists($states.input.none)", False)],
    "filter": [("$filter([1, 2, 3], function($v) { $v > 1 })", [2, 3])],
    "floor": [("$floor(1.8)", 1)],
    "fromMillis": [("$fromMillis(0)", "1970-01-01T00:00:00.000Z"), ("$fromMillis(0, '[Y0001][M01][D01]')", "19700101")],
    "hash": [("$hash('a', 'SHA-256')", "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb")],
    "join": [("$join(['a', 'b'], '-')", "a-b"), ("$join([])", "")],
    "keys": [("$keys({'a': 1, 'b': 2})", ["a", "b"])],
    "length": [("$length('abc')", 3)],
    "lookup": [("$lookup({'a': 5}, 'a')", 5)],
    "lowercase": [("$lowercase('AB')", "ab")],
    "map": [("$map([1, 2], function($v) { $v * 2 })", [2, 4])],
    "match": [("$match('skyloop-dev-v12', /-v([0-9]+)$/).groups[0]", "12")],
    "max": [("$max([1, 3, 2])", 3)],
    "merge": [("$merge([{'a': 1}, {'b': 2}, {'a': 3}])", {"a": 3, "b": 2})],
    "millis": [("$millis() > 1600000000000", True)],
    "min": [("$min([3, 1])", 1)],
    "not": [("$not(true)", False)],
    "now": [("$length($now())", 24)],
    "number": [("$number('12.5')", 12.5), ("$number('3')", 3)],
    "parse": [("$parse('{\"a\": [1]}').a[0]", 1)],
    "partition": [("$partition([1, 2, 3], 2)", [[1, 2], [3]])],
    "range": [("$range(0, 4, 2)", [0, 2, 4])],
    "reduce": [("$reduce([1, 2, 3], function($a, $b) { $a + $b })", 6)],
    "replace": [("$replace('a.b', '.', '-')", "a-b"), ("$replace('a1', /[0-9]/, 'x')", "ax")],
    "reverse": [("$reverse([1, 2])", [2, 1])],
    "round": [("$round(2.567, 2)", 2.57)],
    "single": [("$single([1, 2], function($v) { $v = 2 })", 2)],
    "sort": [("$sort([3, 1, 2])", [1, 2, 3]), ("$sort([1, 2], function($a, $b) { $a < $b })", [2, 1])],
    "split": [("$split('a/b', '/')", ["a", "b"]), ("$split('a/b/c', '/')[-1]", "c")],
    "string": [("$string(5)", "5"), ("$string({'a': 1})", '{"a":1}')],
    "substring": [("$substring('abcdef', 1, 2)", "bc"), ("$substring('abc', -1)", "c")],
    "substringAfter": [("$substringAfter('a/b', '/')", "b")],
    "substringBefore": [("$substringBefore('a/b', '/')", "a")],
    "sum": [("$sum([1, 2])", 3), ("$sum([])", 0)],
    "toMillis": [("$toMillis('1970-01-01T00:00:01Z')", 1000)],
    "trim": [("$trim('  a  ')", "a")],
    "type": [("$type(1)", "number"), ("$type({})", "object")],
    "uppercase": [("$uppercase('ab')", "AB")],
    "uuid": [("$length($uuid())", 36)],
}
# What is not a function, and what the machines rely on.
SYNTAX: list[tuple[str, Any]] = [
    ("$states.input.n in [1, 2]", True),
    ("'x' in $states.input.list.name", True),
    ("'y' in $states.input.none.name", False),
    ("$states.input.list[name = 'x'].size", 4),
    ("$states.input.n = 1 and true or false", True),
    ("$states.input.n > 0 ? 'some' : 'none'", "some"),
    ("($a := 2; $b := function($x) { $x * $a }; $b(3))", 6),
    ("{'a': $states.input.n, 'gone': $states.input.none}", {"a": 1}),
    ("[1..3]", [1, 2, 3]),
    ("'a' & 1 & 'b'", "a1b"),
    ("null", None),
    ("$states.input.list.(name & $string(size))", ["x4", "z5"]),
]
INPUT = {"n": 1, "list": [{"name": "x", "size": 4}, {"name": "z", "size": 5}]}


def test_every_function_that_is_let_through_has_a_case() -> None:
    assert set(CASES) == supported_features.JSONATA


def test_a_function_computes_what_step_functions_does(run: Any) -> None:
    cases = [*SYNTAX, *(case for cases in CASES.values() for case in cases)]
    state = {"Type": "Pass", "Output": [f"{{% {expression} %}}" for expression, _ in cases]}
    execution = run(state, input=INPUT)
    assert execution["status"] == "SUCCEEDED", execution["cause"]
    found = {expression: result for (expression, _), result in zip(cases, execution["output"], strict=True)}
    assert found == dict(cases)
