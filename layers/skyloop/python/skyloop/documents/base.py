"""What every document has in common: frozen, and strict or lenient about unknown fields."""

from __future__ import annotations

import json
from collections import Counter
from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, ConfigDict, StringConstraints

JsonObject: TypeAlias = dict[str, Any]
"""A JSON object whose fields are not known yet, or do not matter: parse it into a model before reading any of them."""

Sha256: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""A SHA-256 in lower-case hex: what an artifact is known again by."""


def parse_json(text: str | bytes, *, once: bool = False) -> object:
    """Parse JSON of any origin. Raises ValueError for whatever is wrong with it, being nested too deeply included.

    Of a member that an object has twice, the last counts; with `once` that is wrong too. RFC 8259 leaves it open.
    """
    try:
        document: object = json.loads(text, object_pairs_hook=_each_once if once else None)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    return document


def _each_once(members: list[tuple[str, object]]) -> JsonObject:
    found = dict(members)
    if len(found) < len(members):
        twice = Counter(name for name, _ in members).most_common(1)[0][0]
        raise ValueError(f"an object has the member {twice!r:.60} twice")
    return found


def json_line(document: object) -> bytes:
    """A line of a JSON Lines file in UTF-8, with the line end.

    Half a surrogate pair, which JSON can name and UTF-8 cannot, stays the escape that it was.
    """
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return text.encode(errors="backslashreplace") + b"\n"


class Document(BaseModel):
    """A stored or returned document. Unknown fields are ignored, so that older readers accept newer documents."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    def plain(self) -> JsonObject:
        """JSON-ready; fields without a value are null."""
        return self.model_dump(mode="json", by_alias=True)


class Request(BaseModel):
    """What a state machine asks of a function. Unknown fields are refused, because they are typing errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)
