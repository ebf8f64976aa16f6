"""What every document has in common: frozen, and strict or lenient about unknown fields."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class Document(BaseModel):
    """A stored or returned document. Unknown fields are ignored, so that older readers accept newer documents."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    def plain(self) -> dict[str, Any]:
        """JSON-ready; fields without a value are null."""
        return self.model_dump(mode="json", by_alias=True)


class Request(BaseModel):
    """What a state machine asks of a function. Unknown fields are refused, because they are typing errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)
