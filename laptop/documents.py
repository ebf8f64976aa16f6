"""The shape of what AWS's APIs exchange."""

from __future__ import annotations

from typing import Any

Document = dict[str, Any]
"""A JSON object of an AWS API: a request, a response, an event, a resource, a template. AWS names its members."""
