"""What pages of other origins may do: what the CORS rules of a bucket say, as MiniStack reads them."""

from __future__ import annotations

from ministack import app
from ministack.services import s3


def cors(method: str, path: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes] | None:
    """S3's answer to a preflight, or for another method the CORS headers of its answer; None without such a rule."""
    target = app._s3_cors_target(headers.get("host", ""), path)
    if target is None:
        return None
    bucket, key = target
    if method == "OPTIONS":
        status, answer, body = s3.cors_preflight(bucket, key, headers)
        return status, dict(answer), body
    answer = s3.cors_response_headers(bucket, method, headers)
    return (200, dict(answer), b"") if answer else None
