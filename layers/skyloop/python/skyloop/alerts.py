"""Alerts: one document for programs, one text for people, attributes for subscription filters, and the SNS edge.

Message structure and attributes: https://docs.aws.amazon.com/sns/latest/api/API_Publish.html. A subscriber filters by
`event`, `severity` or `stage` with a filter policy on the message attributes, e.g. {"event": ["drift"]}.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from datetime import date
from typing import TYPE_CHECKING

from skyloop.documents import Alert, JsonObject, PublishAlertRequest, ServiceError, parse_json
from skyloop.layout import alert_day

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient

SUBJECT_LIMIT = 99  # characters: SNS wants a subject "less than 100" long, starting with a letter or digit
MESSAGE_LIMIT = 262_144  # bytes SNS takes for the whole message
LONG_TEXT = 2_000  # characters kept of one explanation; a stack trace of a failed job can be far longer
DOCUMENT_PROTOCOLS = ("lambda", "sqs", "http", "https")
# Where services keep the sentence in an error's JSON: a failed job's description (FailureReason, or ExitMessage of a
# processing job), a Lambda function's error (errorMessage), other services (message).
SENTENCES = ("FailureReason", "errorMessage", "ExitMessage", "message")


def text_of(alert: Alert) -> str:
    """The alert as a person reads it in a mail."""
    parts = [f"{alert.what}\n", f"Why: {alert.why}", f"Kept: {alert.kept}", f"What to do: {alert.next_step}"]
    links = "\n".join(f"{name}: {uri}" for name, uri in alert.links.items())
    return "\n".join(parts) + (f"\n\n{links}" if links else "")


def in_words(error: ServiceError) -> str:
    """`<name>: <sentence>`. A cause that is no whole JSON object, or has no sentence in it, is given as it is."""
    cause = error.cause.strip()
    try:
        document = parse_json(cause)
    except ValueError:  # Step Functions cuts long causes, and half a document is no document
        document = None
    found = [document.get(name) for name in SENTENCES] if isinstance(document, dict) else []
    sentence = next((text for text in found if isinstance(text, str) and text), cause)
    return f"{error.error}: {sentence}" if sentence else error.error


def alert_from_request(request: PublishAlertRequest, stage: str) -> Alert:
    """The alert that a state machine of the stage's stack asks for: its error in words, its execution linked."""
    return Alert(
        event=request.event,
        severity=request.severity,
        stage=stage,
        subject=request.subject,
        what=request.what,
        why=request.why if isinstance(request.why, str) else in_words(request.why),
        kept=request.kept,
        next_step=request.next_step,
        correlation_id=request.correlation_id,
        links={"execution": request.execution, **request.links},
        at=request.at,
    )


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


def sns_message(alert: Alert, prefix: str) -> JsonObject:
    """The arguments of sns:Publish without the topic: text for mail, the document for programs, and attributes.

    `prefix` names the stack (`<project>-<stage>`) in the mail's subject. Raises ValueError when the alert has so many
    links that SNS would refuse the message.
    """
    short = shortened(alert)
    document = json.dumps(short.plain(), ensure_ascii=False, sort_keys=True)
    message = {"default": text_of(short), **{protocol: document for protocol in DOCUMENT_PROTOCOLS}}
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


def publish(client: SNSClient, topic_arn: str, alert: Alert, prefix: str) -> str:
    """Publish to the topic and return SNS's message id. The client's errors pass through."""
    return client.publish(TopicArn=topic_arn, **sns_message(alert, prefix))["MessageId"]


def archive_key(document: JsonObject) -> str:
    """Where an :func:`archive_document` is kept: `monitoring/alerts/<yyyy>/<mm>/<dd>/<name>.json`.

    The name is a digest of what one execution, or one function, said about one thing, so that what was published twice
    in a day, because the answer of SNS was lost, is kept once; of a message that is no alert, its id. Raises ValueError
    when SNS's timestamp has no date.
    """
    published_at, alert = document["published_at"], document["alert"]
    try:
        day = date.fromisoformat(published_at[:10])
    except ValueError as error:
        raise ValueError(f"not a timestamp: {published_at!r}") from error
    if "event" not in alert:
        return f"{alert_day(day)}{document['message_id']}.json"
    links = alert.get("links")
    execution = links.get("execution") if isinstance(links, dict) else None
    # An execution says a thing once, in whatever words; a function may say another thing of the same kind later.
    names = ("event", "subject", "what") if execution else sorted(alert.keys() - {"at"})
    said = json.dumps([execution, *(alert.get(name) for name in names)], sort_keys=True)
    return f"{alert_day(day)}{hashlib.sha256(said.encode()).hexdigest()[:32]}.json"


def archive_document(notification: JsonObject) -> JsonObject:
    """What is kept of one SNS notification (the `Sns` part of a Lambda record).

    A program's message is the alert document; a message of another sender (a CloudWatch alarm, a person with the
    console) is kept as text under `what`, so that nothing that was alerted is missing from the archive.
    """
    try:
        document = parse_json(notification["Message"])
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
