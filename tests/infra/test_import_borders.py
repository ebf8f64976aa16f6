"""Who may import whom: read from the syntax of every Python file, `functions/` included, which is no package.

The first border is a legal one. `training_container/` imports Ultralytics and is AGPL-3.0; the rest of Skyloop is
Apache-2.0 because it talks to that folder by files, processes and HTTP only.
"""

from __future__ import annotations

import ast
import hashlib
import re

import pytest

from tests.support.files import REPOSITORY as ROOT
from tests.support.files import repository_files

CONTAINER = "training_container"
ONLY_IN_CONTAINER = {
    CONTAINER, "skyloop_container", "ultralytics", "torch", "torchvision", "onnx", "onnxruntime", "openvino", "nncf",
    "faster_coco_eval",
}  # fmt: skip
# What runs in production, and what it must never import: the tools of a person at a desk.
PRODUCTION = ("functions", "layers", f"{CONTAINER}/skyloop_container")
TOOLS = {"laptop", "cli", "demo", "bench", "tests"}
DYNAMIC = {"import_module", "__import__", "find_spec", "run_module", "importorskip"}
# sha256 of the texts as https://www.apache.org/licenses/LICENSE-2.0.txt and https://www.gnu.org/licenses/agpl-3.0.txt
# give them.
LICENSES = {
    "LICENSE": "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30",
    f"{CONTAINER}/LICENSE": "0d96a4ff68ad6d4b6f1f30f713b18d5184912ba8dd389f86aa7710db079abcb0",
}


def python_files() -> list[str]:
    """Paths of all Python files, relative to the root."""
    return repository_files("*.py")


def imports(source: str) -> dict[str, int]:
    """Top-level names of the packages that a module imports, at any depth and by name too, with the line."""
    found = imports_by_name(source)
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        for name in names:
            found.setdefault(name.partition(".")[0], node.lineno)
    return found


def imports_by_name(source: str) -> dict[str, int]:
    """As `imports`, but only what is given as text to `import_module` and its like, whatever they are renamed to."""
    found: dict[str, int] = {}
    tree = ast.parse(source)
    renamed = [alias for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names]
    dynamic = DYNAMIC | {alias.asname for alias in renamed if alias.asname and alias.name in DYNAMIC}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            given = [*node.args[:1], *(keyword.value for keyword in node.keywords if keyword.arg == "name")]
            constants = [value.value for value in given if isinstance(value, ast.Constant)]
            for name in constants if called in dynamic else []:
                if isinstance(name, str):
                    found.setdefault(name.partition(".")[0], node.lineno)
    return found


def crossings(paths: list[str], forbidden: set[str]) -> list[str]:
    """Each import of a forbidden package, as `path:line imports name`."""
    return [
        f"{path}:{line} imports {name}"
        for path in paths
        for name, line in imports((ROOT / path).read_text(encoding="utf-8")).items()
        if name in forbidden
    ]


def test_the_reader_sees_every_form_of_import() -> None:
    source = """
import torch.nn
def later():
    from ultralytics.cfg import get_cfg
    import numpy as np, flatbuffers
    importlib.import_module("onnxruntime.capi")
    __import__(name="torchvision")
    from importlib import import_module as load
    load("onnx")
    pytest.importorskip("faster_coco_eval")
from . import skyloop_container
print("skyloop_container")
"""
    found = set(imports(source)) & ONLY_IN_CONTAINER
    assert found == {"torch", "ultralytics", "onnx", "onnxruntime", "torchvision", "faster_coco_eval"}


def test_nothing_but_the_container_imports_ultralytics_or_the_container() -> None:
    inside = [path for path in python_files() if path.startswith(f"{CONTAINER}/")]
    outside = [path for path in python_files() if not path.startswith(f"{CONTAINER}/")]
    assert crossings(outside, ONLY_IN_CONTAINER) == []
    assert crossings(inside, {"ultralytics"}), "the folder that this border is drawn around is somewhere else now"


@pytest.mark.parametrize("folder", PRODUCTION)
def test_production_code_imports_no_tool(folder: str) -> None:
    paths = [path for path in python_files() if path.startswith(f"{folder}/")]
    assert paths
    assert crossings(paths, TOOLS) == []


def test_the_container_knows_nothing_of_the_domain_but_its_reader_of_pictures() -> None:
    """Its tests may: they hold the two sides of a document together."""
    paths = [path for path in python_files() if path.startswith(f"{CONTAINER}/") and "/tests/" not in path]
    code = {path: (ROOT / path).read_text(encoding="utf-8") for path in paths}
    readers = [path for path, text in code.items() if "from skyloop.formats.pictures import" in text]
    assert readers, "the reader that all share is somewhere else now"
    for path, text in code.items():
        imports = [line for line in text.splitlines() if re.match(r"\s*(from|import) (skyloop|functions)\b", line)]
        assert all("from skyloop.formats.pictures import" in line for line in imports), path
    assert crossings([path for path in paths if path not in readers], {"skyloop", "functions"}) == []


def test_the_domain_has_one_name() -> None:
    """`layers.skyloop.python.skyloop` is the same code under a name that no contract of import-linter knows."""
    assert crossings(python_files(), {"layers"}) == []


def test_the_domain_is_imported_by_statement() -> None:
    """import-linter sees no `import_module("skyloop...")`, so none is allowed."""
    sources = {path: (ROOT / path).read_text(encoding="utf-8") for path in python_files() if "tests/" not in path}
    packages = {"skyloop", "laptop", "cli", "demo"}
    assert [path for path, source in sources.items() if packages & imports_by_name(source).keys()] == []


def test_only_tests_import_a_function() -> None:
    """A function is started by its path. `laptop` knows the domain by its plug-in alone, `cli` by the layer."""
    paths = [path for path in python_files() if not path.startswith("tests/")]
    assert crossings(paths, {"functions"}) == []


@pytest.mark.parametrize("folder", ["layers/skyloop/python/skyloop", "laptop", "cli", "demo"])
def test_every_room_is_a_package(folder: str) -> None:
    """import-linter does not look into a folder without `__init__.py`, which Python imports all the same."""
    rooms = {(ROOT / path).parent for path in python_files() if path.startswith(f"{folder}/")}
    assert rooms
    assert [str(room.relative_to(ROOT)) for room in sorted(rooms) if not (room / "__init__.py").exists()] == []


@pytest.mark.parametrize("path", LICENSES)
def test_license_texts_are_whole_and_unchanged(path: str) -> None:
    assert hashlib.sha256((ROOT / path).read_bytes()).hexdigest() == LICENSES[path]
