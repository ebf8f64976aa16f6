"""The SAM CLI, in its own environment (scripts/setup-tools.sh): the template is valid, and it builds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.infra import wiring

SAM = wiring.ROOT / ".venv-sam" / "bin" / "sam"


@pytest.fixture(autouse=True)
def sam_cli() -> None:
    """Set up the SAM CLI when a test is run alone; `make test` has done it before."""
    if not SAM.exists():
        subprocess.run(["sh", str(wiring.ROOT / "scripts" / "setup-tools.sh")], check=True)


def sam(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        # The layer's Makefile calls python3; a bare system one may have no pip.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "SAM_CLI_TELEMETRY": "0",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    return subprocess.run(
        [str(SAM), *arguments], cwd=wiring.ROOT, env=environment, capture_output=True, text=True, check=False
    )


def test_sam_validate_lint_is_clean() -> None:
    result = sam("validate", "--lint")
    assert result.returncode == 0, result.stdout + result.stderr


def test_sam_build_makes_what_lambda_runs(tmp_path: Path) -> None:
    build = tmp_path / "build"
    result = sam("build", "--build-dir", str(build), "--cache-dir", str(wiring.ROOT / ".aws-sam" / "cache"))
    assert result.returncode == 0, result.stdout + result.stderr
    built = yaml.load((build / "template.yaml").read_text(encoding="utf-8"), Loader=wiring._Loader)["Resources"]
    for name, resource in built.items():
        for member in ("CodeUri", "ContentUri", "DefinitionUri"):
            if member in resource.get("Properties", {}):
                place = (build / resource["Properties"][member]).resolve()
                assert place.exists(), name
                if member == "CodeUri":
                    assert (place / "app.py").is_file(), name
    assert (
        (build / built["SkyloopLayer"]["Properties"]["ContentUri"] / "python/skyloop/__init__.py").resolve().is_file()
    )
    packages = build / built["DependenciesLayer"]["Properties"]["ContentUri"] / "python"
    for package in ("aws_lambda_powertools", "pydantic", "numpy", "PIL"):
        assert (packages / package).is_dir(), package
    binaries = {path.name for path in packages.rglob("*.so")}
    assert binaries
    assert all("aarch64" in name for name in binaries if "cpython" in name)
    assert all("cpython-313" in name for name in binaries if "cpython" in name)
    # Lambda's limit for a function and its layers, unpacked.
    assert sum(path.stat().st_size for path in packages.rglob("*") if path.is_file()) < 250 * 1024 * 1024
