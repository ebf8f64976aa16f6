"""What the functions, jobs and state machines logged, from CloudWatch Logs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from cli.cloud import Cloud
from cli.errors import CliError, error_code


@dataclass(frozen=True)
class Line:
    """One log event; `level` and `message` are taken from Powertools' JSON where the line is such."""

    at: datetime
    group: str
    level: str
    message: str
    fields: dict[str, Any]

    def as_document(self) -> dict[str, Any]:
        return asdict(self)


# One group for all jobs of an account, a stream for each job:
# https://docs.aws.amazon.com/sagemaker/latest/dg/logging-cloudwatch.html
JOB_GROUPS = frozenset({"/aws/sagemaker/TrainingJobs", "/aws/sagemaker/ProcessingJobs"})


def parse(at: datetime, group: str, text: str) -> Line:
    """A log event as a Line: structured when it is JSON with a `message`, as it stands otherwise."""
    try:
        fields = json.loads(text)
    except ValueError:
        fields = None
    if not isinstance(fields, dict) or "message" not in fields:
        return Line(at, group, "", text.rstrip(), fields if isinstance(fields, dict) else {})
    message = fields["message"]
    spoken = message if isinstance(message, str) else json.dumps(message, ensure_ascii=False)
    return Line(at, group, str(fields.get("level", "")), spoken, fields)


def groups(cloud: Cloud, part: str | None) -> list[str]:
    """Log groups of this stack whose name contains `part`. CliError when there is none."""
    pages = cloud.client("logs").get_paginator("describe_log_groups").paginate()
    names = [item["logGroupName"] for page in pages for item in page["logGroups"]]
    own = [name for name in names if cloud.prefix in name or cloud.stack_name in name or name in JOB_GROUPS]
    found = [name for name in own if part is None or part in name]
    if not found:
        raise CliError(f"No log group of this stack contains {part!r}.", f"There are: {', '.join(own) or 'none'}.")
    return found


def lines(cloud: Cloud, part: str | None, find: str | None, since: float, limit: int) -> list[Line]:
    """The last `limit` lines since an epoch second, oldest first; `find` is text they must contain."""
    client = cloud.client("logs")
    pattern = {"filterPattern": f'"{find}"'} if find else {}
    found: list[Line] = []
    for group in groups(cloud, part):
        ours = {"logStreamNamePrefix": f"{cloud.prefix}-"} if group in JOB_GROUPS else {}
        request = {"logGroupName": group, "startTime": int(since * 1000), **ours, **pattern}
        try:
            pages = client.get_paginator("filter_log_events").paginate(**request)
            events = [event for page in pages for event in page["events"]]
        except ClientError as error:
            if error_code(error) == "ResourceNotFoundException":
                continue
            raise
        stream = ours.get("logStreamNamePrefix", "")
        for event in events:
            if event["logStreamName"].startswith(stream) and (find is None or find in event["message"]):
                found.append(parse(datetime.fromtimestamp(event["timestamp"] / 1000, UTC), group, event["message"]))
    return sorted(found, key=lambda line: line.at)[-limit:]
