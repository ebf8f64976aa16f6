"""What the functions, jobs and state machines logged, from CloudWatch Logs."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError
from skyloop.documents import JsonObject, parse_json

from cli.cloud import Cloud
from cli.errors import CliError, error_code

if TYPE_CHECKING:
    from mypy_boto3_logs.type_defs import FilterLogEventsRequestPaginateTypeDef


@dataclass(frozen=True)
class Line:
    """One log event; `level` and `message` come from Powertools' JSON where the event is that."""

    at: datetime
    group: str
    level: str
    message: str
    fields: JsonObject

    def as_document(self) -> dict[str, object]:
        """The members, ready for JSON."""
        return asdict(self)


# One group for all jobs of an account, a stream for each job:
# https://docs.aws.amazon.com/sagemaker/latest/dg/logging-cloudwatch.html
JOB_GROUPS = frozenset({"/aws/sagemaker/TrainingJobs", "/aws/sagemaker/ProcessingJobs"})


# What terminals are told (ECMA-48, control sequences and operating system commands), for colors and progress bars.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\))")


def plain(text: str) -> str:
    """What a terminal would show in the end: no escapes, and of what was written over on one line the last."""
    shown = (line.rstrip("\r").rpartition("\r")[2].rstrip() for line in _ESCAPES.sub("", text).split("\n"))
    return "\n".join(shown).rstrip()


def parse_event(at: datetime, group: str, text: str) -> Line:
    """A log event as a Line: structured when it is JSON with a `message`, else the text as a terminal shows it."""
    try:
        fields = parse_json(text)
    except ValueError:
        fields = None
    if not isinstance(fields, dict) or "message" not in fields:
        return Line(at, group, "", plain(text), fields if isinstance(fields, dict) else {})
    message = fields["message"]
    if not isinstance(message, str):
        message = json.dumps(message, ensure_ascii=False)
    return Line(at, group, str(fields.get("level", "")), plain(message), fields)


def groups(cloud: Cloud, part: str | None) -> list[str]:
    """Log groups of this stack whose name contains `part`. Raises CliError when there is none."""
    pages = cloud.client("logs").get_paginator("describe_log_groups").paginate()
    names = [item["logGroupName"] for page in pages for item in page["logGroups"]]
    own = [name for name in names if cloud.prefix in name or cloud.stack_name in name or name in JOB_GROUPS]
    found = [name for name in own if part is None or part in name]
    if not found:
        raise CliError(f"No log group of this stack contains {part!r}.", f"There are: {', '.join(own) or 'none'}.")
    return found


def lines(cloud: Cloud, part: str | None, find: str | None, since: float, limit: int) -> list[Line]:
    """The last `limit` lines since an epoch second, oldest first; with `find`, only those that contain this text.

    Raises CliError when no log group's name contains `part`.
    """
    found: list[Line] = []
    for group in groups(cloud, part):
        try:
            found += _group_lines(cloud, group, find, since)
        except ClientError as error:
            if error_code(error) != "ResourceNotFoundException":  # deleted since it was listed
                raise
    return sorted(found, key=lambda line: line.at)[-limit:]


def _group_lines(cloud: Cloud, group: str, find: str | None, since: float) -> list[Line]:
    request: FilterLogEventsRequestPaginateTypeDef = {"logGroupName": group, "startTime": int(since * 1000)}
    prefix = f"{cloud.prefix}-" if group in JOB_GROUPS else ""
    if prefix:
        request["logStreamNamePrefix"] = prefix
    if find:
        request["filterPattern"] = f'"{find}"'
    # Filtered once more here: not every emulator applies the filters of the request.
    found = [
        parse_event(datetime.fromtimestamp(event["timestamp"] / 1000, UTC), group, event["message"])
        for page in cloud.client("logs").get_paginator("filter_log_events").paginate(**request)
        for event in page["events"]
        if event["logStreamName"].startswith(prefix) and (find is None or find in event["message"])
    ]
    return [line for line in found if line.message]  # a progress bar also writes escapes alone
