"""The Dockerfile's two images: what is in each, and that what serves needs nothing of what trains."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from training_container.tests.jobs import TRAINS

CONTAINER = Path(__file__).parents[1]
ROOT = CONTAINER.parent
OF_THE_DOMAIN = {
    f"layers/skyloop/python/skyloop/formats/{name}.py" for name in ("exif", "picture_files", "pictures", "pixels")
}

Instructions = list[tuple[str, str]]


def stages() -> dict[str, tuple[str, Instructions]]:
    """Of each stage what it is built from, and its instructions."""
    text = re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n", "", (CONTAINER / "Dockerfile").read_text(encoding="utf-8")))
    found: dict[str, tuple[str, Instructions]] = {}
    name = ""
    for line in filter(None, text.splitlines()):
        instruction, rest = line.split(maxsplit=1)
        if instruction == "FROM":
            base, _, name = rest.split()
            found[name] = (base, [])
        elif found:
            found[name][1].append((instruction, rest))
        else:
            assert (instruction, rest) == ("ARG", "BASE_IMAGE=python:3.11-slim-bookworm")
    return found


def image(name: str) -> Instructions:
    """All instructions that make an image, those of the stages before it first."""
    base, instructions = stages()[name]
    if base not in stages():
        assert base == "${BASE_IMAGE}"
        return instructions
    return image(base) + instructions


def installed(name: str) -> list[str]:
    return re.findall(r"pip install -r /tmp/([\w.-]+)", " ".join(rest for word, rest in image(name) if word == "RUN"))


def test_targets() -> None:
    assert list(stages()) == ["program", "serving-packages", "training-packages", "serving", "training"]
    serves = ["requirements-serving.txt", "requirements-serving-cuda.txt"]  # the latter if CUDA=1 is given
    assert installed("serving") == serves
    assert installed("training") == [*serves, "requirements.txt"]
    # Which has the other ONNX Runtime in it: the first that this stage does is to refuse CUDA=1.
    (word, rest), (refuses, how) = stages()["training-packages"][1][:2]
    assert (word, rest, refuses) == ("ARG", 'CUDA=""', "RUN")
    for given, status in (("", 0), ("1", 1)):
        run = subprocess.run(["sh", "-c", how], env={"CUDA": given}, capture_output=True, text=True, check=False)
        assert (run.returncode, "--target serving" in run.stderr) == (status, bool(status))


@pytest.mark.parametrize("name", ["serving", "training"])
def test_both_start_the_same_program_from_the_same_folder(name: str) -> None:
    made = image(name)
    assert [json.loads(rest) for word, rest in made if word == "ENTRYPOINT"] == [["python3", "-m", "skyloop_container"]]
    assert [rest for word, rest in made if word == "WORKDIR"] == ["/opt/program"]
    assert made[-1] == ("COPY", "--from=program / ./"), "a change of code does not install again"


def test_every_file_that_is_copied_is_there_and_is_sent_to_the_builder() -> None:
    """And nothing else is sent: the context is the repository."""
    copied = {
        source
        for _, instructions in stages().values()
        for word, rest in instructions
        if word == "COPY" and not rest.startswith("--from=")
        for source in rest.split()[:-1]
    }
    assert [path for path in copied if not (ROOT / path).exists()] == []
    sent = (CONTAINER / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert {line.removeprefix("!") for line in sent if line.startswith("!")} == copied
    code = [line.split()[-1] for line in (rest for word, rest in stages()["program"][1] if word == "COPY")]
    assert code == ["/LICENSE", "/skyloop_container", "/skyloop/formats/"]
    assert copied > OF_THE_DOMAIN


def run_python(code: str) -> str:
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=CONTAINER, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_images_carry_what_their_code_imports_of_the_domain() -> None:
    code = "import sys, skyloop_container.serve; print([n for n in sys.modules if n.startswith('skyloop.')])"
    reached = set(ast.literal_eval(run_python(code))) - {"skyloop.formats"}
    assert {f"layers/skyloop/python/{module.replace('.', '/')}.py" for module in reached} == OF_THE_DOMAIN


@pytest.mark.parametrize("program", ["serve", "evaluate", "__main__"])
def test_what_the_serving_image_runs_imports_nothing_that_trains(program: str) -> None:
    """In an interpreter in which none of it can be imported, as in that image."""
    missing = f"import sys; sys.modules.update(dict.fromkeys({TRAINS!r})); import skyloop_container.{program}"
    assert run_python(missing) == ""
