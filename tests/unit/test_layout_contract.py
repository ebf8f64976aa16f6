"""What `skyloop.layout` says is said nowhere else: a second spelling can change alone, and nothing would fail.

Python code is read from its syntax. `template.yaml` and the state machines cannot import the layout, and neither can
`training_container/`, which is AGPL: what they spell is compared with it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from skyloop import layout
from skyloop.layout import DatasetFiles, ModelArtifacts

from tests.support.files import REPOSITORY as ROOT
from tests.support.files import repository_files

LAYOUT = "layers/skyloop/python/skyloop/layout.py"
DEFINITIONS = sorted([ROOT / "template.yaml", *(ROOT / "statemachines").glob("*.yaml")])

NOT_SCANNED = {
    "DRIFT_PRIORITY": "its value, `drift`, is also the name of a kind of alert",
}
ALLOWED = {
    ("bench/serving.py", "model.tar.gz"): "SageMaker's own name of a model; no training job wrote this one",
    ("laptop/sagemaker/jobs/training.py", "model.tar.gz"): "this is SageMaker, which chooses the name",
}

CONSTANTS = {
    name: value
    for name, value in vars(layout).items()
    if name.isupper() and isinstance(value, str) and name not in NOT_SCANNED
}
ITEMS = {layout.endpoint_item(""), layout.drift_item(""), layout.quarantine_id("").partition("#")[0] + "#"}


def relative_paths(keys: ModelArtifacts | DatasetFiles) -> set[str]:
    """The paths below the folder, such as `evaluation/report.html`."""
    names = [name for name, member in vars(type(keys)).items() if isinstance(member, property)]
    return {str(getattr(keys, name)).removeprefix(keys.folder) for name in names} - {""}


ARTIFACTS = relative_paths(ModelArtifacts("job"))
FILES = {path.rpartition("/")[2] or path for path in ARTIFACTS | relative_paths(DatasetFiles("ds"))}

# Prefixes and item names are found inside of longer texts, names of metadata and indexes only as whole texts: those
# are everyday words.
PARTS = ITEMS | {value for value in CONSTANTS.values() if re.search(r"[/#]", value)} | FILES
# A prefix without its slash, as `"/".join(...)` and `Path(...) / ...` take it, is a whole text.
BARE = {value.rstrip("/") for value in CONSTANTS.values() if re.fullmatch(r"[a-z]+(-[a-z]+)+/", value)}
WHOLE = (
    {value for value in CONSTANTS.values() if value not in PARTS}
    | BARE
    | {DatasetFiles("").manifest("").rpartition("/")[2]}
)
INSIDE = re.compile("|".join(rf"(?<![\w.-]){re.escape(part)}(?:(?<=[/#-])|(?![\w.-]))" for part in sorted(PARTS)))


def python_files() -> list[str]:
    """Every Python file except for tests and for the container's."""
    skipped = ("tests/", "training_container/", LAYOUT)
    return [path for path in repository_files("*.py") if not path.startswith(skipped)]


def texts(source: str) -> Iterator[tuple[int, str]]:
    """Every string of a module that a program uses, parts of f-strings included, with its line.

    Prose is left out: docstrings, and the help and descriptions of options and fields.
    """
    tree = ast.parse(source)
    prose: set[ast.AST] = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg in {"help", "description"}:
            prose |= set(ast.walk(node.value))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node not in prose:
            text = node.value.decode("latin-1") if isinstance(node.value, bytes) else node.value
            if isinstance(text, str):
                yield node.lineno, text


def second_spellings(source: str) -> list[tuple[int, str]]:
    """Lines of a module that spell what the layout spells, and what they spell."""
    found = []
    for line, text in texts(source):
        if text in WHOLE:
            found.append((line, text))
        found += [(line, match.group()) for match in INSIDE.finditer(text)]
    return found


def test_python_code_takes_names_from_the_layout() -> None:
    found = {
        (path, spelled): f"{path}:{line} spells {spelled!r}"
        for path in python_files()
        for line, spelled in second_spellings((ROOT / path).read_text())
    }
    assert [text for place, text in found.items() if place not in ALLOWED] == []
    assert set(ALLOWED) - set(found) == set(), "these exceptions are not needed any more"


@pytest.mark.parametrize(
    ("source", "spelled"),
    [
        ('key = f"raw-images/{flight}/{name}"', "raw-images/"),
        ('key = "s3://data/monitoring/alerts/" + day', "monitoring/alerts/"),
        ('item = table.get(f"endpoint#{name}")', "endpoint#"),
        ('key = f"{folder}/evaluation/golden-predictions.json"', "golden-predictions.json"),
        ('key = f"{folder}decision.json"', "decision.json"),
        ('IndexName="status-index"', "status-index"),
        ('key = "/".join(["model-artifacts", job])', "model-artifacts"),
        ('body.startswith(b"raw-images/")', "raw-images/"),
        ('metadata["correlation-id"]', "correlation-id"),
        ('f"{split}.manifest"', ".manifest"),
        ('def f() -> str:\n    """Docstring."""\n    return "quarantine/labels/"', "quarantine/"),
    ],
)
def test_a_second_spelling_is_found(source: str, spelled: str) -> None:
    assert spelled in [text for _, text in second_spellings(source)]


@pytest.mark.parametrize(
    "source",
    [
        '"""Images lie under raw-images/<flight>/."""',
        'def f() -> None:\n    """Write decision.json."""',
        'typer.Option(help="Upload to raw-images/.")',
        'Field(description="<0 priority|1>#<time>")',
        'template = "report.html.jinja"',
        'text = "its priority is high, its status-index unknown"',
        'value = {"decision": "approve", "quarantine": True}',
    ],
)
def test_prose_and_other_names_are_no_second_spellings(source: str) -> None:
    assert second_spellings(source) == []


BUCKET_PATH = re.compile(r"(?:\$\{DataBucket(?:\.Arn)?\}/|[Pp]refix: )([a-z][\w/.-]*)")
ITEM_NAME = re.compile(r"\b[a-z]+#[\w${}-]*")
INDEX_NAME = re.compile(r"(?:IndexName: |/index/)([\w-]+)")
ARTIFACT_PATH = re.compile(re.escape(layout.MODEL_ARTIFACTS) + r"<value>/([\w./-]+)")


def not_in_the_layout(definition: str) -> list[str]:
    """What a template or a state machine names in the bucket or in the tables that the layout does not have."""
    prefixes = [value for value in CONSTANTS.values() if value.endswith("/")]
    wrong = [
        path
        for path in BUCKET_PATH.findall(definition)
        if not any(f"{path.rstrip('/')}/".startswith(prefix) or prefix.startswith(path) for prefix in prefixes)
    ]
    written = {layout.LABELING_LOCK, layout.SPLIT_ITEMS, layout.ALERTED_ITEMS, layout.TRAINING_ITEMS}
    known = tuple(ITEMS | written | {layout.STOPPED_ITEMS, layout.SWEEP_TOUR})
    wrong += [name for name in ITEM_NAME.findall(definition) if not name.startswith(known)]
    indexes = {layout.STATUS_INDEX, layout.OBJECTS_INDEX}
    wrong += [name for name in INDEX_NAME.findall(definition) if name not in indexes]
    # In JSONata a path is put together: 's3://…/model-artifacts/' & $job & '/decision.json'
    joined = re.sub(r"'\s*&\s*\$[\w.]+\s*&\s*'", "<value>", definition)
    folders = {f"{Path(path).parent}" for path in ARTIFACTS} | {path.rstrip("/") for path in ARTIFACTS}
    wrong += [path for path in ARTIFACT_PATH.findall(joined) if path.rstrip("/") not in folders]
    return wrong


@pytest.mark.parametrize("path", DEFINITIONS, ids=lambda path: path.name)
def test_what_a_definition_names_is_in_the_layout(path: Path) -> None:
    """Beside it, tests/infra/test_retrain_expressions.py runs the one expression that puts artifact paths together."""
    assert not_in_the_layout(path.read_text()) == []


def test_definitions_name_something() -> None:
    """Were the patterns out of date, the test above would find nothing to compare."""
    together = "\n".join(path.read_text() for path in DEFINITIONS)
    assert len(BUCKET_PATH.findall(together)) > 20
    assert len(ITEM_NAME.findall(together)) > 5
    assert INDEX_NAME.findall(together)


@pytest.mark.parametrize(
    ("definition", "wrong"),
    [
        ('Resource: !Sub "${DataBucket.Arn}/raw_images/*"', ["raw_images/"]),
        ("object: {key: [{prefix: raw/}]}", ["raw/"]),
        ('name: {S: "endpoints#${EndpointName}"}', ["endpoints#${EndpointName}"]),
        ("- IndexName: by-status", ["by-status"]),
        ("{% 's3://${DataBucket}/model-artifacts/' & $job & '/evaluation/scores.json' %}", ["evaluation/scores.json"]),
        ("{% 's3://${DataBucket}/model-artifacts/' & $job & '/evaluation/evaluation.json' %}", []),
        ("{% 's3://${DataBucket}/model-artifacts/' & $job & '/checkpoints/' %}", []),
        ('Resource: !Sub "${DataBucket.Arn}/monitoring/*"', []),
    ],
)
def test_a_wrong_definition_is_found(definition: str, wrong: list[str]) -> None:
    assert not_in_the_layout(definition) == wrong


def written_by_the_evaluation(source: str) -> set[str]:
    """The names that a module writes below `output`: `output / "evaluation.json"`."""
    return {
        str(node.right.value)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)
        if isinstance(node.left, ast.Name) and node.left.id == "output" and isinstance(node.right, ast.Constant)
    }


def test_the_container_writes_the_files_that_the_layout_names() -> None:
    source = (ROOT / "training_container" / "skyloop_container" / "evaluate.py").read_text()
    folder, _, _ = ModelArtifacts("job").evaluation.rpartition("/")
    expected = {Path(path).name for path in ARTIFACTS if f"{ModelArtifacts('job').folder}{path}".startswith(folder)}
    assert written_by_the_evaluation(source) == expected
