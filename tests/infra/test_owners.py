"""Who may write what: every object and item has one maker, and its policy names it."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatch

import pytest
from skyloop import layout

from tests.infra import wiring
from tests.infra.policies import ROLES, many, reference, statements


def test_keys_that_roles_name_are_those_of_the_layout() -> None:
    """A key that is renamed in the layout alone would be refused at the first use."""
    folders = (
        layout.RAW_IMAGES,
        layout.QUARANTINE,
        layout.UNUSABLE_LABELS,
        layout.LABELING_JOBS,
        layout.LABELED_DATA,
        layout.LABELED_IMAGES,
        layout.PROCESSED_DATA,
        layout.MODEL_ARTIFACTS,
        layout.CAPTURES,
        layout.DRIFT_REPORTS,
        layout.ALERTS,
    )
    drifted, _, _ = layout.drift_flight("*", "").partition("*")
    job = layout.ModelArtifacts("*")
    files = {
        *(layout.LABEL_CATEGORIES, layout.exclusion_key("*"), layout.label_index_key("*")),
        *(layout.superseded_labels_key("*"), job.decision),
    }
    parts = {
        f"{job.folder}profiler-output/*",  # SageMaker's own
        f"{job.checkpoints}*",
        *(f"{file.rpartition('/')[0]}/*" for file in (job.model, job.evaluation)),
    }
    known = files | parts | {f"{folder}*" for folder in (*folders, drifted, "monitoring/")}
    inside = f"{reference('DataBucket')}/"
    arns = {arn for role in ROLES for item in statements(role) for arn in item["Resource"]}
    named = {arn.removeprefix(inside) for arn in arns if arn.startswith(inside)}
    assert files <= named
    assert named - known == set()


def _allowed(action: str, resource: str) -> set[str]:
    """The roles that may do something to an object or table; the wildcards of both are looked at from both sides."""
    return {
        role
        for role in ROLES
        for item in statements(role)
        if action in item["Action"]
        and any(fnmatch(resource, arn) or fnmatch(arn, resource) for arn in item["Resource"])
    }


def test_an_artifact_is_written_by_its_maker_alone() -> None:
    job = layout.ModelArtifacts("a-job")
    inside = f"{reference('DataBucket')}/"
    makers = {
        job.model: {"TrainingRole"},
        f"{job.checkpoints}last.pt": {"TrainingRole"},
        job.evaluation: {"EvaluationRole"},
        job.baseline: {"EvaluationRole"},
        job.golden_predictions: {"EvaluationRole"},
        job.decision: {"GateModelRole"},
        f"{layout.BASE_WEIGHTS}0/yolo.pt": set(),
        f"{layout.CAPTURES}skyloop-dev/primary/x.jsonl": {"EndpointRole"},
        f"{layout.ALERTS}x.json": {"ArchiveAlertRole"},
        f"{layout.PROCESSED_DATA}d/dataset.json": {"AssembleDatasetRole"},
        f"{layout.LABELED_DATA}job/images/x.jpg": {"ConvertLabelsRole"},
    }
    assert {key: _allowed("s3:PutObject", inside + key) for key in makers} == makers
    assert _allowed("s3:DeleteObject", f"{inside}*") == set()


WRITES = {"dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"}
STACK = "skyloop-dev"
# What each function writes to the state table, and what it reads there; the machines' definitions say it themselves.
STATE_ITEMS = {
    "AssembleDatasetRole": ({layout.SPLIT_ITEMS + "*"}, {layout.SPLIT_ITEMS + "*"}),
    "DetectDriftRole": ({layout.drift_item(STACK)}, {layout.drift_item(STACK), layout.endpoint_item(STACK)}),
    "SweepUploadsRole": ({layout.SWEEP_TOUR}, {layout.LABELING_LOCK, layout.SWEEP_TOUR}),
}


def _state_items(role: str) -> tuple[set[str], set[str]]:
    """The keys of the state table that a role may write and read. Fails for a statement that names none."""
    written, read = set(), set()
    for statement in statements(role):
        if reference("StateTable") in statement["Resource"]:
            (values,) = (test["dynamodb:LeadingKeys"] for test in statement["Condition"].values())
            assert list(statement["Condition"]) == ["ForAllValues:StringLike"]
            for action in statement["Action"]:
                (written if action in WRITES else read).update(many(values))
    return written, read


def _items_of_machine(name: str) -> tuple[set[str], set[str]]:
    written, read = set(), set()
    for machine, _, task in wiring.tasks():
        if machine == name and ":dynamodb:" in task["Resource"]:
            text = json.dumps(task["Arguments"])
            # A literal key, or an expression that begins with one.
            (key,) = set(re.findall(r"""name['"]?: \{['"]?S['"]?: ['"](?:\{% ')?([\w#${}-]+)""", text))
            key = key.replace("${EndpointName}", STACK) + ("*" if key.endswith("#") else "")
            (read if task["Resource"].endswith("getItem") else written).add(key)
    return written, read


@pytest.mark.parametrize("role", ROLES)
def test_state_items_are_written_by_those_whose_they_are(role: str) -> None:
    """What a rollback goes to is decided by deploy and rollback alone."""
    machine = role.removesuffix("MachineRole").lower()
    wanted = _items_of_machine(machine) if machine in wiring.MACHINES else STATE_ITEMS.get(role, (set(), set()))
    assert _state_items(role) == wanted
    assert layout.endpoint_item(STACK) not in wanted[0] or machine in ("deploy", "rollback")
