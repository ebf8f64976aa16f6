"""Alerts: one document for machines, one text for people, attributes for subscription filters, and the SNS edge.

Message structure and attributes: https://docs.aws.amazon.com/sns/latest/api/API_Publish.html. A subscriber filters by
`event`, `severity` or `stage` with a filter policy on the message attributes, e.g. {"event": ["drift"]}.
"""

from __future__ import annotations

import json
import unicodedata
from datetime import date
from typing import Any, Literal

from pydantic import AwareDatetime, Field

from skyloop.documents import Document
from skyloop.layout import alert_day

Severity = Literal["info", "warning", "error"]
Event = Literal[
    "labeling-failed",
    "dataset-insufficient",
    "training-failed",
    "evaluation-failed",
    "gate-refused",
    "approval-needed",
    "deployed",
    "deployment-failed",
    "rolled-back",
    "rollback-failed",
    "drift",
    "drift-cleared",
    "images-quarantined",
    "sweep-found",
    "pipeline-failed",
]

SUBJECT_LIMIT = 99  # characters: SNS wants a subject "less than 100" long, starting with a letter or digit
MESSAGE_LIMIT = 262_144  # bytes SNS takes for the whole message
LONG_TEXT = 2_000  # characters kept of one explanation; a stack trace of a failed job can be far longer
DOCUMENT_PROTOCOLS = ("lambda", "sqs", "http", "https")


class Alert(Document):
    """What happened, why, what was kept, and what to do next."""

    event: Event
    severity: Severity
    stage: str
    subject: str = Field(min_length=1, description="what it is about: a job, an endpoint, a flight")
    what: str
    why: str
    kept: str
    next_step: str
    correlation_id: str = ""
    links: dict[str, str] = Field(default_factory=dict, description="name -> URI of what to look at")
    at: AwareDatetime

    def text(self) -> str:
        """The alert as a person reads it in a mail."""
        parts = [f"{self.what}\n", f"Why: {self.why}", f"Kept: {self.kept}", f"What to do: {self.next_step}"]
        links = "\n".join(f"{name}: {uri}" for name, uri in self.links.items())
        return "\n".join(parts) + (f"\n\n{links}" if links else "")


def mail_subject(subject: str) -> str:
    """`subject` as SNS takes it: printable ASCII on one line, less than 100 characters.

    Accents are dropped, what has no ASCII form becomes `?`, and a subject that is cut ends in `...`.
    """
    decomposed = unicodedata.normalize("NFKD", subject)
    bare = "".join(character for character in decomposed if not unicodedata.combining(character))
    line = " ".join(bare.encode("ascii", "replace").decode().split())
    line = "".join(character for character in line if character.isprintable())
    # SNS wants a letter, a digit or punctuation first; `[dev]` is punctuation, an empty line is refused.
    line = line or "Skyloop"
    return line if len(line) <= SUBJECT_LIMIT else line[: SUBJECT_LIMIT - 3].rstrip() + "..."


def shortened(alert: Alert) -> Alert:
    """The alert with texts cut to what a mail can carry; what was cut is marked. Links are never cut."""
    texts = {name: _cut(getattr(alert, name)) for name in ("what", "why", "kept", "next_step")}
    return alert.model_copy(update=texts)


def _cut(text: str) -> str:
    return text if len(text) <= LONG_TEXT else text[:LONG_TEXT] + f" … ({len(text) - LONG_TEXT} characters more)"


def sns_message(alert: Alert, prefix: str) -> dict[str, Any]:
    """The arguments of sns:Publish without the topic: text for mail, the document for programs, and attributes.

    `prefix` names the stack (`<project>-<stage>`) in the mail's subject, as the state machines' alerts do.
    """
    short = shortened(alert)
    document = json.dumps(short.plain(), ensure_ascii=False, sort_keys=True)
    message = {"default": short.text(), **{protocol: document for protocol in DOCUMENT_PROTOCOLS}}
    body = json.dumps(message, ensure_ascii=False)
    if len(body.encode()) > MESSAGE_LIMIT:
        raise ValueError(f"the alert has {len(body.encode())} bytes, SNS takes {MESSAGE_LIMIT}: it has too many links")
    attributes = {"event": alert.event, "severity": alert.severity, "stage": alert.stage}
    return {
        "Subject": mail_subject(f"[{prefix}] {alert.event}: {alert.subject}"),
        "MessageStructure": "json",
        "Message": body,
        "MessageAttributes": {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()},
    }


def publish(client: Any, topic_arn: str, alert: Alert, prefix: str) -> str:
    """Publish to the topic and return SNS's message id. `client` is a boto3 SNS client; its errors pass through."""
    return client.publish(TopicArn=topic_arn, **sns_message(alert, prefix))["MessageId"]


def archive_key(message_id: str, published_at: str) -> str:
    """Where an alert is kept: `monitoring/alerts/<yyyy>/<mm>/<dd>/<message id>.json`.

    `published_at` is SNS's ISO 8601 timestamp. Raises ValueError when it has no date.
    """
    try:
        day = date.fromisoformat(published_at[:10])
    except ValueError as error:
        raise ValueError(f"not a timestamp: {published_at!r}") from error
    return f"{alert_day(day)}{message_id}.json"


def archived(notification: dict[str, Any]) -> dict[str, Any]:
    """What is kept of one SNS notification (the `Sns` part of a Lambda record).

    A program's message is the alert document; a message of another sender (a CloudWatch alarm, a person with the
    console) is kept as text under `what`, so that nothing that was alerted is missing from the archive.
    """
    try:
        document = json.loads(notification["Message"])
    except ValueError:
        document = None
    if not isinstance(document, dict):
        document = {"what": notification["Message"]}
    attributes = {name: entry.get("Value") for name, entry in (notification.get("MessageAttributes") or {}).items()}
    return {
        "message_id": notification["MessageId"],
        "published_at": notification["Timestamp"],
        "mail_subject": notification.get("Subject"),
        "attributes": attributes,
        "alert": document,
    }
