"""No module imports itself through others, not even by an import inside a function."""

from __future__ import annotations

import ast
import graphlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
# A folder on the import path, and the packages below it.
ROOTS = {
    REPOSITORY: ("bench", "cli", "demo", "functions", "laptop", "tests"),
    REPOSITORY / "layers/skyloop/python": ("skyloop",),
    REPOSITORY / "training_container": ("skyloop_container", "bench", "tests"),
}


def modules(root: Path, packages: tuple[str, ...]) -> dict[str, Path]:
    """Dotted name -> file, for every module below a folder on the import path."""
    found = {}
    for package in packages:
        for file in (root / package).rglob("*.py"):
            parts = file.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imported(module: str, known: dict[str, Path]) -> Iterator[str]:
    """The modules that a module names in its imports, wherever they stand; a package only for what is its own."""
    file = known[module]
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            for name in node.names:
                below = f"{origin}.{name.name}"
                yield below if below in known else origin


def circle(known: dict[str, Path]) -> list[str]:
    """The modules of one circle, each imported by the one after it; empty where there is none."""
    graph = {name: set(imported(name, known)) & known.keys() - {name} for name in known}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return []


@pytest.mark.parametrize("root", ROOTS, ids=lambda root: root.name)
def test_no_module_imports_itself_through_others(root: Path) -> None:
    known = modules(root, ROOTS[root])
    assert len(known) > 10
    assert circle(known) == []


def test_an_import_inside_a_function_counts(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package/first.py").write_text("from package import second\n")
    (tmp_path / "package/second.py").write_text("def late():\n    from package.first import anything\n")
    assert set(circle(modules(tmp_path, ("package",)))) == {"package.first", "package.second"}
