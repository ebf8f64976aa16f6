"""Versions are written in constraints.txt; files that must carry their own for `sam build` or Docker say the same."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
OF_THE_LAYER = ROOT / "layers" / "dependencies" / "requirements.txt"
OF_SERVING = ROOT / "training_container" / "requirements-serving.txt"
OF_A_GPU = ROOT / "training_container" / "requirements-serving-cuda.txt"
OF_TRAINING = ROOT / "training_container" / "requirements.txt"


def name(requirement: str) -> str:
    """The package of a requirement, spelled as PyPI compares names: `Foo_bar[x]==1` -> `foo-bar`."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\[=<>!~; ]", requirement, maxsplit=1)[0]).lower()


def pins(file: Path) -> dict[str, str]:
    """Versions by package, those of included files among them. Fails where a line is no exact pin."""
    found: dict[str, str] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith("-r "):
            found |= pins(file.parent / line.removeprefix("-r "))
            continue
        requirement, equal, version = line.partition("==")
        assert equal, f"{file.name}: {line!r} pins nothing"
        assert name(requirement) not in found, f"{file.name}: {requirement} stands twice"
        found[name(requirement)] = version
    return found


CONSTRAINTS = pins(ROOT / "constraints.txt")


@pytest.mark.parametrize(
    "file", [OF_THE_LAYER, OF_SERVING, OF_TRAINING], ids=lambda file: f"{file.parent.name}/{file.name}"
)
def test_what_is_built_has_the_versions_that_are_tested(file: Path) -> None:
    assert pins(file).items() <= CONSTRAINTS.items()


def test_whatever_is_installed_by_name_is_pinned() -> None:
    groups = [item for group in PROJECT["dependency-groups"].values() for item in group if isinstance(item, str)]
    wanted = [*PROJECT["project"]["dependencies"], *groups, *PROJECT["build-system"]["requires"]]
    assert {name(requirement) for requirement in wanted} <= CONSTRAINTS.keys()


def test_what_serves_is_in_both_images_and_brings_nothing_that_trains() -> None:
    assert pins(OF_SERVING).items() < pins(OF_TRAINING).items()
    assert not {"torch", "torchvision", "ultralytics-opencv-headless", "mlflow-skinny"} & pins(OF_SERVING).keys()


def test_an_endpoint_with_a_gpu_has_the_same_onnx_runtime_and_libraries_of_one_cuda() -> None:
    """They cannot be in constraints.txt: the two builds of ONNX Runtime write the same files."""
    there = pins(OF_A_GPU)
    assert there.pop("onnxruntime-gpu") == pins(OF_SERVING)["onnxruntime"]
    assert all(package.startswith("nvidia-") for package in there)
    assert {there[f"nvidia-{name}"].split(".")[0] for name in ("cuda-runtime", "cuda-nvrtc", "cublas")} == {"13"}
    assert "nvidia-cudnn-cu13" in there


def test_no_pin_needs_an_index_of_its_own() -> None:
    """A local version such as 2.13.0+cpu is on no public index; without it, both builds fit."""
    assert [pin for pin in CONSTRAINTS.values() if "+" in pin] == []


def test_the_project_asks_for_what_the_layer_brings() -> None:
    assert pins(OF_THE_LAYER).keys() <= {name(requirement) for requirement in PROJECT["project"]["dependencies"]}
