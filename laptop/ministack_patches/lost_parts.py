"""Parts of stacks that are gone because what kept them was damaged: the next update of their stack makes them again.

A stack says what it made, and each service what it has, each in a state of its own. Where one is lost, the two no
longer agree. What a stack has no longer is taken out of its books, and the stack becomes one that can be updated.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from pathlib import Path

from ministack import app
from ministack.services import cloudformation, s3
from ministack.services.cloudformation import drift, stacks

from laptop import running
from laptop.documents import Document
from laptop.ministack_patches.states import to_be_updated
from laptop.skyloop_plugin import ARTIFACT_BUCKET, COMMAND, drop_again

# Where the state that has a namespace's resources is not called as the namespace is, in lower case.
_STATES = {"Events": "eventbridge", "Logs": "cloudwatch_logs"}
_BUCKET = "AWS::S3::Bucket"
_NAMED = 5  # parts that are named in a sentence


def was_used(home: Path) -> bool:
    """Whether a home has had buckets, or a stack: then its journal was not empty."""
    return (home / running.FILE).exists() or any((home / "s3").glob("*/*"))  # account/bucket


def take_out(restored: AbstractSet[str]) -> list[str]:
    """Take what is gone out of the stacks' books; returns sentences. `restored` are the states that were brought back.

    Call it once every service has what it kept.
    """
    found = []
    for stack in cloudformation._stacks._data.values():
        if stack["StackStatus"] == "DELETE_COMPLETE":
            continue
        with stacks._stack_region_context(stack, stack["StackId"]):
            if changed := _take_out(stack, restored):
                found.append(_lost(stack, changed))
    return found + ([] if "s3" in restored else _buckets_without_stack())


def _take_out(stack: Document, restored: AbstractSet[str]) -> list[str]:
    changed = []
    for logical_id, resource in list(stack.get("_resources", {}).items()):
        kind, physical_id = resource["ResourceType"], resource["PhysicalResourceId"]
        namespace = kind.split("::")[1]
        state = _STATES.get(namespace, namespace.lower())
        lost = state in app._state_map and state not in restored
        if kind == _BUCKET and lost and physical_id in s3._buckets:
            # Its objects are files, which are there: it only needs its settings again.
            fixed = {name: value for name, value in resource["Properties"].items() if name == "BucketName"}
            resource["Properties"] = fixed
        elif lost or not _exists(kind, physical_id, resource["Properties"]):
            del stack["_resources"][logical_id]
        else:
            continue
        changed.append(logical_id)
    return changed


def _exists(kind: str, physical_id: str, properties: Document) -> bool:
    """Whether a resource is there; True where that cannot be asked for."""
    reader, _ = drift._DRIFT_READERS.get(kind, (None, None))
    return reader is None or reader(physical_id, properties) is not None


def _lost(stack: Document, changed: list[str]) -> str:
    others = f" and {len(changed) - _NAMED} others" if len(changed) > _NAMED else ""
    what = f"{', '.join(sorted(changed)[:_NAMED])}{others} of the stack {stack['StackName']}"
    if stack["StackStatus"].endswith("_COMPLETE"):
        to_be_updated(stack, "The cloud lost resources of this stack.")
    return f"What the cloud kept of {what} is lost; `{COMMAND} up` makes them again, and what they held stays lost."


def _buckets_without_stack() -> list[str]:
    """Where the objects of buckets are that nothing but their files is left of."""
    owned = {
        resource["PhysicalResourceId"]
        for stack in cloudformation._stacks._data.values()
        for resource in stack.get("_resources", {}).values()
    }
    found = []
    for (account, name), bucket in s3._buckets._data.items():
        if name in owned or name == ARTIFACT_BUCKET or not bucket["objects"]:
            continue
        folder = Path(s3.DATA_DIR) / account / name
        found.append(
            f"The bucket {name} is no stack's any more, and `{COMMAND} up` makes another one; its "
            f"{len(bucket['objects'])} objects are kept in {folder}.{drop_again(folder)}"
        )
    return found
