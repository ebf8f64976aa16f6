"""Tags of every SageMaker resource, found by its ARN."""

from __future__ import annotations

from typing import ClassVar

from laptop.sagemaker.core import errors
from laptop.sagemaker.core.room import Operations, Room
from laptop.sagemaker.core.store import Record, page

_LIMIT = 50


class Tags(Room):
    """The operations on tags."""

    def add(self, request: Record) -> Record:
        """Set tags; a key that exists takes the new value. At most 50 per resource, none that starts with `aws:`."""
        kind, name, record = self._resource(request["ResourceArn"])
        merged = {tag["Key"]: tag["Value"] for tag in record.get("Tags", [])}
        merged.update((tag["Key"], tag["Value"]) for tag in request["Tags"])
        check(request["Tags"])
        if len(merged) > _LIMIT:
            raise errors.limit_exceeded(f"The number of tags on a resource cannot exceed {_LIMIT}.")
        tags = [{"Key": key, "Value": value} for key, value in merged.items()]
        self.context.store.update(kind, name, {"Tags": tags})
        return {"Tags": tags}

    def list(self, request: Record) -> Record:
        """One page of a resource's tags."""
        _, _, record = self._resource(request["ResourceArn"])
        return page(record.get("Tags", []), request, "Tags", default=_LIMIT)

    def delete(self, request: Record) -> Record:
        """Remove tags by key; keys that are not there are no error."""
        kind, name, record = self._resource(request["ResourceArn"])
        left = [tag for tag in record.get("Tags", []) if tag["Key"] not in request["TagKeys"]]
        self.context.store.update(kind, name, {"Tags": left})
        return {}

    def _resource(self, arn: str) -> tuple[str, str, Record]:
        # A record names other resources too (its role, a model's package). Its own ARN is the field named after its
        # kind.
        def own(kind: str, record: Record) -> bool:
            field = "".join(word.capitalize() for word in kind.split("-")) + "Arn"
            return str(record.get(field)).lower() == arn.lower()

        resource = self.context.store.find(own)
        if resource is None:
            raise errors.validation(f"Could not find resource with ARN {arn}.")
        return resource

    OPERATIONS: ClassVar[Operations] = {"AddTags": add, "ListTags": list, "DeleteTags": delete}


def check(tags: list[dict[str, str]]) -> None:
    """The rules of tags at creation that the model does not say: no reserved prefix, no key twice."""
    keys = [tag["Key"] for tag in tags]
    if any(key.lower().startswith("aws:") for key in keys):
        raise errors.validation("Tag keys cannot start with the reserved prefix aws:")
    if len(set(keys)) != len(keys):
        raise errors.validation("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
