"""What checks a change: the Makefile, a commit hook and GitHub's workflow call the same things."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def recipe(target: str) -> list[str]:
    """The command lines of a target of the Makefile."""
    found = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    assert found, target
    return [line.strip() for line in found[1].splitlines()]


def document(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def test_a_commit_is_checked_by_what_lint_runs() -> None:
    tools = {" ".join(command.split()[:2]).removesuffix(" .") for command in recipe("lint")}
    hooks = [hook["entry"] for repo in document(".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]]
    assert {" ".join(hook.split()[:2]) for hook in hooks} == tools


def test_the_tests_begin_with_lint() -> None:
    assert re.search(r"^test: lint\b", MAKEFILE, re.MULTILINE)


def test_the_workflow_runs_the_two_commands_of_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    jobs = document(".github/workflows/test.yml")["jobs"]
    for name, job in jobs.items():
        commands = [step["run"] for step in job["steps"] if "run" in step]
        assert commands == ["sudo scripts/install-system.sh", f"make {name}"]
        assert all(command in readme for command in commands)
    assert jobs.keys() == {"test", "demo"}
