"""Artifacts whose content must be the one that was evaluated, and what was found of them."""

from __future__ import annotations

from skyloop.documents.base import Document, Request, Sha256


class Artifact(Request):
    """An object, and the digest that it had when it was evaluated."""

    uri: str
    sha256: Sha256


class VerifyRequest(Request):
    """What deploy.asl asks."""

    artifacts: tuple[Artifact, ...]


class VerifyResponse(Document):
    """`summary` is a sentence for a person: which artifacts differ, or that none does."""

    verified: bool
    summary: str
