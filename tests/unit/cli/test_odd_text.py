"""Text that is no UTF-8, or that a terminal would obey, wherever a person or a folder can give it: no traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli import detect, snapshot
from cli.cloud import Cloud
from cli.detect import ImageDetections
from cli.main import app
from tests.support.files import REPOSITORY

BUCKET = "skyloop-data"
Picture = Callable[..., Path]
ODD = {
    "not UTF-8": os.fsdecode(b"f\xfcr"),
    "a surrogate": "a\ud800b",
    "clears the screen": "a\x1b[2Jb",
    "eight bits": "a\x9b2Jb",
    "turned around": "a\u202eb",
    "line break": "a\nb",
}
REGION = ["--region", "eu-central-1"]
HOME = ["--home", "{tmp}/none"]
COMMANDS = [
    ["drop", "{tmp}/{odd}", *REGION],
    ["drop", "{tmp}/flight", "--flight", "{odd}", *REGION],
    ["drop", "{tmp}/flight", "--labels", "{tmp}/{odd}", *REGION],
    ["drop", "{tmp}/flight", "--region", "{odd}"],
    ["drop", "{tmp}/flight", "--profile", "{odd}"],
    ["drop", "{tmp}/flight", "--home", "{tmp}/{odd}"],
    ["detect", "{tmp}/{odd}", *REGION],
    ["detect", "{tmp}/flight", "--out", "{tmp}/{odd}", *REGION],
    ["detect", "{tmp}/flight", "--confidence", "{odd}", *REGION],
    ["relabel", "{odd}", *REGION],
    ["retrain", "{odd}", *REGION],
    ["retrain", "--base-weights", "{odd}", *REGION],
    ["retrain", "--from", "{odd}", *REGION],
    ["retrain", "--epochs", "{odd}", *REGION],
    ["deploy", "{odd}", *REGION],
    ["approve", "{odd}", "--comment", "{odd}", *REGION],
    ["reject", "--comment", "{odd}", *REGION],
    ["rollback", "--reason", "{odd}", *REGION],
    ["categories", "add", "{odd}", *REGION],
    ["alerts", "--event", "{odd}", *REGION],
    ["logs", "{odd}", *REGION],
    ["logs", "--find", "{odd}", *REGION],
    ["up", "-p", "{odd}", *HOME],
    ["up", "--base-weights", "{tmp}/{odd}.pt", *HOME],
    ["down", "--home", "{tmp}/{odd}"],
    ["credentials", "--home", "{tmp}/{odd}"],
    ["status", "--home", "{tmp}/{odd}"],
    ["{odd}"],
    ["status", "--{odd}"],
]


def dangerous(text: str) -> list[str]:
    return [c for c in text if (ord(c) < 32 and c not in "\n\t") or 0x7F <= ord(c) <= 0x9F or c == "\u202e"]


def no_traceback(result: Result) -> None:
    assert isinstance(result.exception, SystemExit | None), result.exception
    assert result.exit_code in {0, 1, 2}
    assert not dangerous(result.output)
    if result.exit_code == 1:
        assert "error " in result.stderr
        assert "next " in result.stderr


@pytest.fixture
def what_moto_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    """No labeling job, and an endpoint that detects nothing."""
    monkeypatch.setattr(snapshot, "labeling_jobs", lambda *_: [])
    monkeypatch.setattr(detect, "detect_image", lambda _, path, __: ImageDetections(path, 32, 24, (), "", {}))


@pytest.mark.usefixtures("what_moto_does_not_have")
@pytest.mark.parametrize("number", range(len(COMMANDS)), ids=[" ".join(command[:3]) for command in COMMANDS])
def test_what_is_typed_works_or_is_refused_in_two_lines(
    cloud: Cloud, tmp_path: Path, picture: Picture, number: int
) -> None:
    """Each command gets two odd texts, and each text goes to several commands."""
    picture(tmp_path / "flight" / "1.jpg")
    first, *others = ODD.values()
    for odd in (first, others[number % len(others)]):
        no_traceback(CliRunner().invoke(app, [part.format(tmp=tmp_path, odd=odd) for part in COMMANDS[number]]))


@pytest.mark.parametrize(
    ("odd", "as_json"), [(ODD["not UTF-8"], False), (ODD["not UTF-8"], True), (ODD["eight bits"], True)]
)
def test_an_odd_name_stops_no_other_image(
    invoke, cloud: Cloud, tmp_path: Path, picture: Picture, odd: str, as_json: bool
) -> None:
    flight = tmp_path / "flight"
    for name in ("1.jpg", f"{odd}.jpg", f"{odd}/2.jpg", "east/3.jpg"):
        picture(flight / name)
    result = invoke("drop", flight, *(["--json"] if as_json else []))
    found = cloud.client("s3").list_objects_v2(Bucket=BUCKET, Prefix="raw-images/")["Contents"]
    keys = {item["Key"] for item in found}
    assert keys >= {"raw-images/flight/1.jpg", "raw-images/flight-east/3.jpg"}
    assert isinstance(result.exception, SystemExit | None), result.exception
    assert not dangerous(result.output)
    refused = 4 - len(keys)
    assert result.exit_code == (1 if refused else 0)
    if as_json:
        assert len(json.loads(result.stdout)["unreadable"]) == refused


def test_odd_names_in_labels(invoke, tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "flight" / "1.jpg")
    labels = tmp_path / "labels.json"
    for odd in ODD.values():
        document = {
            "images": [{"id": 1, "file_name": "1.jpg"}, {"id": odd, "file_name": odd}],
            "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}],
            "categories": [{"id": 1, "name": "tree"}, {"id": 2, "name": odd}],
        }
        labels.write_text(json.dumps(document))
        no_traceback(invoke("drop", tmp_path / "flight", "--labels", labels))


@pytest.mark.parametrize("arguments", [[b"drop", b"\xff/\x1b[2J"], [b"\xff"], [b"status", b"--home", b"\xff\xc3\xbc"]])
def test_a_terminal_of_any_encoding_gets_two_lines(tmp_path: Path, arguments: list[bytes]) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "SKYLOOP_HOME": str(tmp_path), "SKYLOOP_STACK": ""}
    done = subprocess.run(
        [sys.executable, "-m", "cli", *arguments], cwd=REPOSITORY, env=environment, capture_output=True, check=False
    )
    assert done.returncode in {1, 2}
    assert b"Traceback" not in done.stderr
    assert b"\x1b[2J" not in done.stderr
