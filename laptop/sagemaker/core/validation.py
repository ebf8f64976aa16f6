"""Requests checked against botocore's own service models, with the messages of AWS's services.

One pass over the request and the shape finds every violation: members that are required, of the wrong type, outside an
enum, a pattern, a length or a range, at any depth of structures, lists and maps. The wording follows SageMaker's:
`1 validation error detected: Value 'a_b' at 'trainingJobName' failed to satisfy constraint: Member must satisfy regular
expression pattern: …`; list members are counted from 1 (`inputDataConfig.1.member.channelName`).
"""

from __future__ import annotations

import base64
import datetime as dt
import functools
import itertools
import math
import re
import sys
import unicodedata
from collections.abc import Callable
from typing import Any

from botocore.loaders import Loader
from botocore.model import ListShape, MapShape, OperationModel, ServiceModel, Shape, StructureShape

from laptop.documents import Document
from laptop.sagemaker.core import errors

_INTEGERS = ("integer", "long")
_NUMBERS = ("float", "double")
_MAX_REPORTED = 10  # AWS stops counting there


@functools.cache
def service_model(service: str) -> ServiceModel:
    """Botocore's model of a service, e.g. `sagemaker`, `sagemaker-runtime`, `application-autoscaling`."""
    return ServiceModel(Loader().load_service_model(service, "service-2"), service)


@functools.cache
def operation_model(service: str, operation: str) -> OperationModel:
    """The model of one operation. Raises UnknownOperationException."""
    model = service_model(service)
    if operation not in model.operation_names:
        raise errors.unknown_operation(operation)
    return model.operation_model(operation)


def validate(service: str, operation: str, params: Any) -> Document:
    """Check a request and return it normalized: nulls dropped, whole floats as ints, times as epoch seconds.

    Raises SerializationException for a wrong type and ValidationException for everything else.
    AWS ignores members it does not know; this service refuses them, because a misspelled member that is silently
    ignored is exactly the mistake that a rehearsal should find (boto3 and Step Functions refuse them as well).
    """
    shape = operation_model(service, operation).input_shape
    if shape is None:
        return {}
    if not isinstance(params, dict):
        raise errors.serialization("Start of structure or map found where not expected.")
    check = _Check()
    normal = check.structure(shape, params, "")
    if check.unknown:
        raise errors.validation(check.unknown[0])
    if check.violations:
        count = len(check.violations)
        noun = "error" if count == 1 else "errors"
        raise errors.validation(f"{count} validation {noun} detected: " + "; ".join(check.violations[:_MAX_REPORTED]))
    return normal


def project(shape: Shape | None, value: Any) -> Any:
    """The part of a value that a shape has members for: how a stored record becomes an answer."""
    if shape is None:
        return {}
    if value is None:
        return None
    if isinstance(shape, StructureShape):
        return {
            name: project(member, value[name]) for name, member in shape.members.items() if value.get(name) is not None
        }
    if isinstance(shape, ListShape):
        return [project(shape.member, item) for item in value]
    if isinstance(shape, MapShape):
        return {key: project(shape.value, item) for key, item in value.items()}
    return value


class _Check:
    """One walk over one request; collects what is wrong instead of stopping at the first."""

    def __init__(self) -> None:
        self.violations: list[str] = []
        self.unknown: list[str] = []

    def structure(self, shape: StructureShape, value: Document, path: str) -> Document:
        given = {name: item for name, item in value.items() if item is not None}
        for name in given:
            if name not in shape.members:
                known = ", ".join(sorted(shape.members))
                where = f"{path}.{name}" if path else name
                self.unknown.append(f'Unknown parameter in input: "{where}", must be one of: {known}')
        for name in shape.required_members:
            if name not in given:
                self._add(None, _join(path, name), "Member must not be null")
        if shape.is_tagged_union and len(given) != 1:
            self._add(value, path, "Member must have exactly one of its members set")
        return {
            name: self.value(shape.members[name], item, _join(path, name))
            for name, item in given.items()
            if name in shape.members
        }

    def value(self, shape: Shape, value: Any, path: str) -> Any:
        value = _typed(shape, value, path)
        if isinstance(shape, StructureShape):
            return self.structure(shape, value, path)
        for constraint in _broken(shape, value):
            self._add(value, path, constraint)
        if isinstance(shape, ListShape):
            return [self.value(shape.member, item, f"{path}.{index}.member") for index, item in enumerate(value, 1)]
        if isinstance(shape, MapShape):
            return self._map(shape, value, path)
        return value

    def _map(self, shape: MapShape, value: Document, path: str) -> Document:
        # AWS reports a bad key or a bad scalar value against the whole map, with every constraint of the member.
        if any(True for key in value for _ in _broken(shape.key, key)):
            self._add(value, path, f"Map keys must satisfy constraint: [{', '.join(_constraints(shape.key))}]")
        if isinstance(shape.value, StructureShape | ListShape | MapShape):
            return {key: self.value(shape.value, item, f"{path}.{key}.member") for key, item in value.items()}
        normal = {key: _typed(shape.value, item, f"{path}.{key}") for key, item in value.items()}
        if any(True for item in normal.values() for _ in _broken(shape.value, item)):
            self._add(value, path, f"Map value must satisfy constraint: [{', '.join(_constraints(shape.value))}]")
        return normal

    def _add(self, value: Any, path: str, constraint: str) -> None:
        shown = "null" if value is None else f"'{_shown(value)}'"
        self.violations.append(f"Value {shown} at '{path}' failed to satisfy constraint: {constraint}")


def _join(path: str, name: str) -> str:
    lowered = name[0].lower() + name[1:]
    return f"{path}.{lowered}" if path else lowered


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(value: Any) -> bool:
    return _is_number(value) and value == int(value)


# What a shape of each type takes; timestamps and blobs come in several forms.
_TAKES: dict[str, Callable[[Any], bool]] = {
    "structure": lambda value: isinstance(value, dict),
    "map": lambda value: isinstance(value, dict),
    "list": lambda value: isinstance(value, list | tuple),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    **dict.fromkeys(_INTEGERS, _is_whole),
    **dict.fromkeys(_NUMBERS, _is_number),
}


def _typed(shape: Shape, value: Any, path: str) -> Any:
    """The value in the form that this service works with. Raises SerializationException for another type."""
    kind = shape.type_name
    wrong = errors.serialization(f"{_token(value)} can not be converted to {_article(kind)} at '{path}'")
    if kind in _TAKES and not _TAKES[kind](value):
        raise wrong
    if kind in _INTEGERS:
        return int(value)
    if kind == "timestamp":
        return _timestamp(value, wrong)
    if kind == "blob" and isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except ValueError as error:
            raise wrong from error
    return value


def _timestamp(value: Any, wrong: errors.ServiceError) -> float:
    if isinstance(value, dt.datetime):
        return value.timestamp()
    if _is_number(value):
        return float(value)
    try:
        moment = dt.datetime.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise wrong from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp()


def _broken(shape: Shape, value: Any) -> list[str]:
    """The constraints of a scalar, list or map shape that a value breaks, worded as AWS words them."""
    meta = shape.metadata
    broken = []
    if shape.type_name in ("string", "list", "map", "blob"):
        if "max" in meta and len(value) > meta["max"]:
            broken.append(_at_most(meta["max"], "length"))
        if "min" in meta and len(value) < meta["min"]:
            broken.append(_at_least(meta["min"], "length"))
    elif shape.type_name in _INTEGERS + _NUMBERS:
        if "max" in meta and value > meta["max"]:
            broken.append(_at_most(meta["max"], "value"))
        if "min" in meta and value < meta["min"]:
            broken.append(_at_least(meta["min"], "value"))
    if shape.type_name == "string":
        if "enum" in meta and value not in meta["enum"]:
            broken.append(_enum(meta["enum"]))
        # A value over its length is reported for that alone: no need to run its pattern over a megabyte.
        if "pattern" in meta and not broken and not compiled(meta["pattern"]).fullmatch(value):
            broken.append(_pattern(meta["pattern"]))
    return broken


def _constraints(shape: Shape) -> list[str]:
    """Every constraint of a shape, in AWS's order and wording."""
    meta = shape.metadata
    measure = "length" if shape.type_name in ("string", "list", "map", "blob") else "value"
    listed = []
    if "max" in meta:
        listed.append(_at_most(meta["max"], measure))
    if "min" in meta:
        listed.append(_at_least(meta["min"], measure))
    if "enum" in meta:
        listed.append(_enum(meta["enum"]))
    if "pattern" in meta:
        listed.append(_pattern(meta["pattern"]))
    return listed


def _at_most(bound: float, measure: str) -> str:
    return f"Member must have {measure} less than or equal to {bound}"


def _at_least(bound: float, measure: str) -> str:
    return f"Member must have {measure} greater than or equal to {bound}"


def _enum(values: list[str]) -> str:
    return f"Member must satisfy enum value set: [{', '.join(values)}]"


def _pattern(pattern: str) -> str:
    return f"Member must satisfy regular expression pattern: {pattern}"


# POSIX classes as Java has them (ASCII only), written as the inside of a Python character class.
_POSIX = {"ASCII": r"\x00-\x7F", "Print": r"\x20-\x7E", "Alnum": "a-zA-Z0-9"}


@functools.cache
def compiled(pattern: str) -> re.Pattern[str]:
    r"""A pattern of the service models (Java's dialect, ASCII classes, whole match) for Python's `re`.

    Java's `\p{…}` categories and surrogate pairs are written out as character ranges; `\z` and the repeated `$` of
    `CustomerMetadataKey` have no counterpart in Python and mean the end of the text.
    """
    ported = pattern.replace(r"\uD800\uDC00-\uDBFF\uDFFF", "\\U00010000-\\U0010FFFF").replace(r"\z", r"\Z")
    ported = re.sub(r"\$\{\d+,\d+\}$", "$", ported)
    pieces, inside = [], False
    for piece in re.split(r"(\\p\{\w+\}|\\.|[\[\]])", ported):
        if piece in ("[", "]"):
            inside = piece == "["
        elif piece.startswith(r"\p"):
            ranges = _category(piece[3:-1])
            piece = ranges if inside else f"[{ranges}]"
        pieces.append(piece)
    return re.compile("".join(pieces), re.ASCII)


@functools.cache
def _category(name: str) -> str:
    """The inside of a character class that holds a Unicode general category (`L`, `Z`, …) or a POSIX class."""
    if name in _POSIX:
        return _POSIX[name]
    return "".join(f"{re.escape(chr(first))}-{re.escape(chr(last))}" for first, last in _categories().get(name, ()))


@functools.cache
def _categories() -> dict[str, list[tuple[int, int]]]:
    """Major general category -> ranges of code points."""
    ranges: dict[str, list[tuple[int, int]]] = {}
    for major, run in itertools.groupby(range(sys.maxunicode + 1), lambda point: unicodedata.category(chr(point))[0]):
        points = list(run)
        ranges.setdefault(major, []).append((points[0], points[-1]))
    return ranges


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}={_shown(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_shown(item) for item in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def _token(value: Any) -> str:
    if isinstance(value, bool):
        return "TRUE_VALUE" if value else "FALSE_VALUE"
    if isinstance(value, int | float):
        return "NUMBER_VALUE"
    if isinstance(value, str):
        return "STRING_VALUE"
    return "START_ARRAY" if isinstance(value, list | tuple) else "START_OBJECT"


def _article(kind: str) -> str:
    name = {"structure": "Object", "map": "Map", "list": "List"}.get(kind, kind.capitalize())
    return f"an {name}" if name[0] in "AEIOU" else f"a {name}"
