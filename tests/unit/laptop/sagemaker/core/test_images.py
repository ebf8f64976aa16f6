"""Image URIs lead to programs of this machine."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from laptop.sagemaker.core import images


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("000000000000.dkr.ecr.us-east-1.amazonaws.com/skyloop-training:1", "skyloop-training"),
        ("000000000000.dkr.ecr.us-east-1.amazonaws.com/team/skyloop-training@sha256:ab", "team/skyloop-training"),
        ("registry.example.org:5000/a/b:latest", "a/b"),
        ("localhost/worker", "worker"),
        ("library/worker:1", "library/worker"),
        ("worker", "worker"),
    ],
)
def test_the_repository_of_an_image(uri: str, expected: str) -> None:
    assert images.repository(uri) == expected


def write(folder: Path, dockerfile: str) -> None:
    folder.mkdir()
    (folder / "Dockerfile").write_text(dockerfile)


def test_a_dockerfile_becomes_a_command(tmp_path: Path) -> None:
    write(
        tmp_path / "image",
        'ARG BASE=python:3.13-slim\nFROM ${BASE} AS build\nENTRYPOINT ["no"]\nENV LEFT=behind\nFROM ${BASE}\n'
        '# a comment\nENV A=1 B="two words" \\\n    C=/opt/program/lib\nENV PATH=/opt/bin\nWORKDIR /opt/program/\n'
        'ENTRYPOINT ["python3", "-m", "program"]\n',
    )
    program = images.resolve("host.example/mine:7", {"mine": str(tmp_path / "image")})
    folder = str((tmp_path / "image").resolve())
    assert program.command(["train"]) == [sys.executable, "-m", "program", "train"]
    assert program.command(["x"], ["/opt/program/run.sh"]) == [f"{folder}/run.sh", "x"]
    environment = program.environment()
    assert {name: environment[name] for name in "ABC"} == {"A": "1", "B": "two words", "C": f"{folder}/lib"}
    assert "LEFT" not in environment
    assert environment["PATH"] != "/opt/bin"


def test_a_stage_has_what_the_one_before_it_has(tmp_path: Path) -> None:
    write(
        tmp_path / "image",
        'FROM --platform=linux/amd64 debian AS Base\nENV A=1 B=1\nWORKDIR /opt/program\nENTRYPOINT ["/run"]\n'
        "FROM base as other\nENV A=2 C=2\nWORKDIR /other\nFROM base AS last\nENV B=3\n",
    )
    program = images.resolve("mine", {"mine": str(tmp_path / "image")})
    assert program.variables == {"A": "1", "B": "3"}
    assert (program.workdir, program.entrypoint) == ("/opt/program", ("/run",))


def test_a_program_does_not_see_the_hosts_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "mine")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    write(tmp_path / "image", 'FROM scratch\nENTRYPOINT ["/run"]\n')
    assert not {"AWS_PROFILE", "PYTHONPATH"} & set(
        images.resolve("mine", {"mine": str(tmp_path / "image")}).environment()
    )


@pytest.mark.parametrize("uri", ["nobody", "host.example/skyloop-training-not:1"])
def test_an_image_that_nothing_stands_for(uri: str) -> None:
    with pytest.raises(images.ImageNotFound):
        images.resolve(uri, {})
