"""What the documents say is so: links lead somewhere, commands and options exist, tables name what the code names."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from cli.main import app
from cli.reference import commands
from tests.support.files import repository_files

ROOT = Path(__file__).resolve().parents[3]
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "training_container" / "README.md",
]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
INVOCATION = re.compile(r"(?:^|[`(\s/])skyloop ((?:[a-z]+)(?: [^`\n|]*)?)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
NAMED_FILE = re.compile(r"`((?:[\w.-]+/)+[\w.-]*)`")


def known() -> dict[str, set[str]]:
    """Options by command, e.g. `categories add` -> {--json, …}."""
    group = typer.main.get_command(app)
    return {
        name.removeprefix("skyloop "): {flag for item in command.params for flag in [*item.opts, *item.secondary_opts]}
        for name, command in commands(group, "skyloop")
    }


def anchors(page: Path) -> set[str]:
    """GitHub's anchors of a page's headings."""
    found = set()
    for heading in HEADING.findall(page.read_text()):
        kept = re.sub(r"[^\w\- ]", "", heading.lower().replace("`", ""))
        found.add(kept.replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        if target.startswith(("https://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{page.name} -> {target}"
        if anchor:
            assert anchor in anchors(there), f"{page.name} -> {target}; there are {sorted(anchors(there))}"


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.name != "cli.md"], ids=lambda page: str(page.relative_to(ROOT))
)
def test_commands_and_their_options_exist(page: Path) -> None:
    table = known()
    for written in INVOCATION.findall(page.read_text()):
        words = shlex.split(written.split("#")[0].replace("…", "").strip().rstrip(".,;:)"))
        name = " ".join(words[:2]) if " ".join(words[:2]) in table else words[0]
        assert name in table, f"{page.name}: skyloop {written}"
        for word in words:
            if word.startswith("-"):
                assert word.partition("=")[0] in table[name], f"{page.name}: skyloop {written}"


@pytest.mark.parametrize(
    "page", [ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs" / "decisions").iterdir())], ids=lambda page: page.name
)
def test_files_that_are_named_exist(page: Path) -> None:
    """By their path, or by the end of it where the sentence says in which folder one is."""
    files = repository_files()
    for name in NAMED_FILE.findall(page.read_text()):
        assert any(f"/{name}" in f"/{file}" for file in files), f"{page.name}: {name}"


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        for target in re.findall(r"\bmake ([a-z-]+)$|`make ([a-z-]+)", page.read_text(), re.MULTILINE):
            name = target[0] or target[1]
            assert name in targets, f"{page.name}: make {name}"


def test_every_alert_is_explained() -> None:
    from typing import get_args

    from skyloop.documents import Event

    explained = set(re.findall(r"`([a-z-]+)`", "\n".join(re.findall(r"^\| (`.*?) \|", _operations(), re.MULTILINE))))
    assert set(get_args(Event)) <= explained


def _operations() -> str:
    return (ROOT / "docs" / "operations.md").read_text()


def test_template_parameters_that_are_named_exist() -> None:
    template = (ROOT / "template.yaml").read_text()
    for page in PAGES:
        for name in re.findall(r"(?:-p|--parameter) ([A-Z][a-z]\w*)=|`([A-Z]+[a-z][A-Za-z0-9]*)=", page.read_text()):
            assert re.search(rf"^  {name[0] or name[1]}:$", template, re.MULTILINE), f"{page.name}: {name}"


def test_the_demo_says_how_it_is_used() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "demo", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for option in ("--base-weights", "--home", "--cache", "--report"):
        assert option in done.stdout
