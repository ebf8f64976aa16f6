"""uv goes where pip would go, or does not go at all."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[3]
BEST = ["--index-strategy", "unsafe-best-match"]


@pytest.fixture(scope="module")
def uv_pip() -> ModuleType:
    spec = importlib.util.spec_from_file_location("uv_pip", ROOT / "scripts" / "uv_pip.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_plain_machine_needs_no_option(uv_pip: ModuleType) -> None:
    assert uv_pip.translate("") == (BEST, {})


def test_mirrors_extra_indexes_and_folders_are_handed_over(uv_pip: ModuleType) -> None:
    options, environment = uv_pip.translate(
        "global.index-url='https://mirror.example/simple'\n"
        "install.extra-index-url='https://one.example https://two.example'\n"
        ":env:.find-links='/wheels'\n"
        "global.constraint='\\n/etc/pins.txt'\n"
        "global.cert='/etc/ssl/company.pem'\n"
    )
    assert options == [
        *BEST,
        *("--index-url", "https://mirror.example/simple"),
        *("--extra-index-url", "https://one.example", "--extra-index-url", "https://two.example"),
        *("--find-links", "/wheels"),
        *("--constraint", "/etc/pins.txt"),
    ]
    assert environment == {"SSL_CERT_FILE": "/etc/ssl/company.pem"}


@pytest.mark.parametrize(
    "line", ["global.disable-pip-version-check='1'", "wheel.no-index='true'", "global.timeout='9'"]
)
def test_what_changes_nothing_is_passed_over(uv_pip: ModuleType, line: str) -> None:
    assert uv_pip.translate(line) == (BEST, {})


@pytest.mark.parametrize("line", ["global.proxy='http://proxy'", "install.no-index='true'", "global.trusted-host='x'"])
def test_an_option_without_a_translation_leaves_the_work_to_pip(uv_pip: ModuleType, line: str) -> None:
    assert uv_pip.translate(f"global.find-links='/wheels'\n{line}\n") is None
