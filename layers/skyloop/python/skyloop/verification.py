"""Is what is about to be deployed what was evaluated? The package's digests against those of the objects."""

from __future__ import annotations

from skyloop.aws.storage import Storage
from skyloop.documents import VerifyRequest, VerifyResponse

SHOWN = 12  # digits of a digest in a sentence


def verify_artifacts(storage: Storage, request: VerifyRequest) -> VerifyResponse:
    """Read every artifact and compare its digest with the one that it had when it was evaluated.

    What cannot be read does not differ: ObjectMissing, ValueError for a URI of another bucket, and the client's errors
    pass through.
    """
    differing = []
    for artifact in request.artifacts:
        found = storage.digest(storage.key_of(artifact.uri)).sha256
        if found != artifact.sha256:
            differing.append(
                f"{artifact.uri} has the SHA-256 {found[:SHOWN]}…, what was evaluated had {artifact.sha256[:SHOWN]}…"
            )
    return VerifyResponse(
        verified=not differing, summary="; ".join(differing) or "the artifacts are those that were evaluated"
    )
