"""Image URIs lead to programs of this machine."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from laptop.sagemaker.core import context, images


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    before = context._current
    context.configure(
        context.Context(tmp_path, "http://127.0.0.1:1", role_credentials=lambda _: {}, put_event=lambda _: None)
    )
    yield tmp_path
    context._current = before


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


def test_a_dockerfile_becomes_a_command(home: Path) -> None:
    write(
        home / "image",
        'ARG BASE=python:3.13-slim\nFROM ${BASE} AS build\nENTRYPOINT ["no"]\nENV LEFT=behind\nFROM ${BASE}\n'
        '# a comment\nENV A=1 B="two words" \\\n    C=/opt/program/lib\nENV PATH=/opt/bin\nWORKDIR /opt/program/\n'
        'ENTRYPOINT ["python3", "-m", "program"]\n',
    )
    (home / "images.json").write_text(json.dumps({"mine": str(home / "image")}))
    program = images.resolve("host.example/mine:7")
    folder = str((home / "image").resolve())
    assert program.command(["train"]) == [sys.executable, "-m", "program", "train"]
    assert program.command(["x"], ["/opt/program/run.sh"]) == [f"{folder}/run.sh", "x"]
    environment = program.environment()
    assert {name: environment[name] for name in "ABC"} == {"A": "1", "B": "two words", "C": f"{folder}/lib"}
    assert "LEFT" not in environment
    assert environment["PATH"] != "/opt/bin"


def test_a_program_does_not_see_the_hosts_variables(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "mine")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    write(home / "image", 'FROM scratch\nENTRYPOINT ["/run"]\n')
    (home / "images.json").write_text(json.dumps({"mine": str(home / "image")}))
    assert not {"AWS_PROFILE", "PYTHONPATH"} & set(images.resolve("mine").environment())


@pytest.mark.parametrize("uri", ["nobody", "host.example/skyloop-training-not:1"])
def test_an_image_that_nothing_stands_for(home: Path, uri: str) -> None:
    with pytest.raises(images.ImageNotFound):
        images.resolve(uri)
