"""Tags of every SageMaker resource, found by its ARN."""

from __future__ import annotations

from laptop.sagemaker.core import context, errors
from laptop.sagemaker.core.store import Record, page

_LIMIT = 50


def add_tags(request: Record) -> Record:
    """Set tags; a key that exists takes the new value. At most 50 per resource, and none that starts with `aws:`."""
    kind, name, record = _resource(request["ResourceArn"])
    merged = {tag["Key"]: tag["Value"] for tag in record.get("Tags", [])}
    merged.update((tag["Key"], tag["Value"]) for tag in request["Tags"])
    check(request["Tags"])
    if len(merged) > _LIMIT:
        raise errors.limit_exceeded(f"The number of tags on a resource cannot exceed {_LIMIT}.")
    tags = [{"Key": key, "Value": value} for key, value in merged.items()]
    context.current().store.update(kind, name, {"Tags": tags})
    return {"Tags": tags}


def list_tags(request: Record) -> Record:
    """One page of a resource's tags."""
    _, _, record = _resource(request["ResourceArn"])
    return page(record.get("Tags", []), request, "Tags", default=_LIMIT)


def delete_tags(request: Record) -> Record:
    """Remove tags by key; keys that are not there are no error."""
    kind, name, record = _resource(request["ResourceArn"])
    left = [tag for tag in record.get("Tags", []) if tag["Key"] not in request["TagKeys"]]
    context.current().store.update(kind, name, {"Tags": left})
    return {}


def check(tags: list[dict[str, str]]) -> None:
    """The rules of tags at creation that the model does not say: no reserved prefix, no key twice."""
    keys = [tag["Key"] for tag in tags]
    if any(key.lower().startswith("aws:") for key in keys):
        raise errors.validation("Tag keys cannot start with the reserved prefix aws:")
    if len(set(keys)) != len(keys):
        raise errors.validation("Duplicate tag keys found. Please note that Tag keys are case insensitive.")


def _resource(arn: str) -> tuple[str, str, Record]:
    # A record names other resources too (its role, a model's package). Its own ARN is the field named after its kind.
    def own(kind: str, record: Record) -> bool:
        field = "".join(word.capitalize() for word in kind.split("-")) + "Arn"
        return str(record.get(field)).lower() == arn.lower()

    resource = context.current().store.find(own)
    if resource is None:
        raise errors.validation(f"Could not find resource with ARN {arn}.")
    return resource


OPERATIONS = {"AddTags": add_tags, "ListTags": list_tags, "DeleteTags": delete_tags}
