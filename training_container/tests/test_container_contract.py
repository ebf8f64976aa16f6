"""The edges of the container: paths, hyperparameters, channels, base models, the image, and clear failures."""

import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from skyloop_container import base_model
from skyloop_container.dataset import read_channel, with_pictures
from skyloop_container.environment import Environment, JobError, unpack_model
from skyloop_container.hyperparameters import Hyperparameters, parse_hyperparameters, table
from skyloop_container.train import champion_arguments

CONTAINER = Path(__file__).parents[1]


def job(**values: object) -> Hyperparameters:
    return parse_hyperparameters({"categories": '["a"]'} | {name: str(value) for name, value in values.items()})


# Environment


def test_base_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SAGEMAKER_BASE_DIR", raising=False)
    assert Environment.current().model_dir == Path("/opt/ml/model")
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", "/elsewhere")
    environment = Environment.current()
    assert environment.checkpoint_dir == Path("/elsewhere/checkpoints")
    assert environment.processing_input == Path("/elsewhere/processing/input")
    assert environment.processing_output == Path("/elsewhere/processing/output")


def test_an_empty_channel_is_no_channel(tmp_path: Path) -> None:
    environment = Environment(tmp_path)
    folder = tmp_path / "input" / "data" / "model"
    assert environment.channel("model") is None
    folder.mkdir(parents=True)
    assert environment.channel("model") is None
    (folder / "model.tar.gz").touch()
    assert environment.channel("model") == folder


def test_failure_and_message_fit_what_sagemaker_keeps(tmp_path: Path) -> None:
    environment = Environment(tmp_path)
    environment.write_training_failure("é" * 5000)
    assert len((tmp_path / "output" / "failure").read_text(encoding="utf-8")) == 1024
    environment.write_processing_message("xé" * 5000)
    data = (tmp_path / "output" / "message").read_bytes()
    assert 1022 <= len(data) <= 1024
    assert data.decode("utf-8").startswith("xé")


def test_scratch_is_made_when_needed_and_removed(tmp_path: Path) -> None:
    environment = Environment(tmp_path)
    environment.remove_scratch()
    folder = environment.scratch
    (folder / "file").touch()
    assert not folder.is_relative_to(tmp_path)
    environment.remove_scratch()
    assert not folder.exists()


# Hyperparameters


def test_hyperparameters_are_strings() -> None:
    parsed = parse_hyperparameters({"categories": '["tree", "車"]', "epochs": "7", "lr0": "0.01", "weights": "x.pt"})
    assert (parsed.categories, parsed.epochs, parsed.lr0, parsed.weights) == (["tree", "車"], 7, 0.01, "x.pt")
    assert parsed.imgsz == 640


def test_names_that_sagemaker_adds_are_ignored() -> None:
    job(sagemaker_region="eu-central-1", _tuning_objective_metric="map50")


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({}, "categories"),
        ({"categories": "[]"}, "categories"),
        ({"categories": "tree"}, "categories"),
        ({"categories": '"tree"'}, "categories"),
        ({"categories": '["a", "a"]'}, "twice"),
        ({"categories": '["a"]', "epochs": "many"}, "epochs"),
        ({"categories": '["a"]', "epochs": "0"}, "epochs"),
        ({"categories": '["a"]', "imgsz": "100"}, "imgsz"),
        ({"categories": '["a"]', "epoch": "3"}, "epoch"),
        ({"categories": '["a"]', "optimizer": "Magic"}, "optimizer"),
        ({"categories": '["a"]', "lr0": "nan"}, "lr0"),
    ],
)
def test_bad_hyperparameters_are_named(values: dict[str, str], named: str) -> None:
    with pytest.raises(JobError, match=named) as caught:
        parse_hyperparameters(values)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 1024


@pytest.mark.parametrize(("epochs", "closed"), [(100, 10), (50, 10), (20, 4), (10, 2), (4, 0), (1, 0)])
def test_a_short_run_keeps_its_mosaic(epochs: int, closed: int) -> None:
    assert job(epochs=epochs).effective_close_mosaic == closed


def test_a_short_run_reaches_its_learning_rate() -> None:
    assert job(epochs=100).effective_warmup_epochs == 3
    assert job(epochs=5).effective_warmup_epochs == 1


def test_the_readme_lists_every_hyperparameter() -> None:
    assert table() in (CONTAINER / "README.md").read_text(encoding="utf-8")


# Channels


def channel(folder: Path, *lines: str | dict[str, Any], pictures: int = 1) -> Path:
    """A channel with these labels, and pictures a.jpg, b.jpg, … of 20 x 20 pixels."""
    folder.mkdir(parents=True)
    for name in "abcdef"[:pictures]:
        Image.new("RGB", (20, 20)).save(folder / f"{name}.jpg")
    (folder / "labels.jsonl").write_text(
        "".join(f"{json.dumps(one) if isinstance(one, dict) else one}\n" for one in lines)
    )
    return folder


def line(name: str = "a", *boxes: list[float], **changes: Any) -> dict[str, Any]:
    return {"image": f"{name}.jpg", "width": 20, "height": 20, "flight": "north", "boxes": boxes, **changes}


def test_a_channel_is_read(tmp_path: Path) -> None:
    folder = channel(tmp_path / "c", line("b"), "", line("a", [1, 2, 3, 4, 5], [0, 0, 0, 20, 20]))
    (first, second), dropped = read_channel(folder, 2)
    assert (first.name, first.path, first.flight) == ("a.jpg", folder / "a.jpg", "north")
    assert (first.width, first.height) == (20, 20)
    assert first.boxes == ((1, 2, 3, 4, 5), (0, 0, 0, 20, 20))
    assert (second.name, second.boxes, dropped) == ("b.jpg", (), [])


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("{", "line 1 of labels.jsonl: it: Invalid JSON"),
        ("[]", "line 1 of labels.jsonl"),
        (line("a", [0, 1, 1, 5]), "boxes"),
        (line("a", ["tree", 1, 1, 5, 5]), "boxes"),
        (line("a", [2, 1, 1, 5, 5]), "Category mismatch: it names category 2, but there are 2"),
        (line("a", [-1, 1, 1, 5, 5]), "Category mismatch"),
        (line("a", [0, 18, 1, 5, 5]), "does not lie on the picture of 20 x 20"),
        (line("a", [0, -1, 1, 5, 5]), "does not lie on"),
        ('{"image": "a.jpg", "width": 20, "height": 20, "boxes": [[0, NaN, 1, 5, 5]]}', "line 1"),
        (line("a", [0, 1, 1, 0, 5]), "does not lie on"),
        (line("a", [0, 20, 1, 1, 5]), "does not lie on"),
        (line("a", [0, 1, 20, 5, 1]), "does not lie on"),
        (line("a", width=10**12), "width: Input should be less than or equal to 80000"),
        (line("a", width=20_000, height=5_001), "a picture of 20000 x 5001: no more than 100 megapixels are read"),
        (line("../a"), "leads out of the channel"),
        (line("a", width=0), "width"),
    ],
)
def test_a_bad_label_is_refused(tmp_path: Path, bad: str | dict[str, Any], reason: str) -> None:
    with pytest.raises(JobError, match="1 of the 1 pictures") as caught:
        read_channel(channel(tmp_path / "c", bad), 2)
    assert reason in str(caught.value)


def test_what_a_box_has_beyond_the_edge_is_cut_off(tmp_path: Path) -> None:
    """So that it is trained on as it is judged."""
    [sample], _ = read_channel(channel(tmp_path / "c", line("a", [0, 19.5, 0.7, 1.5, 20.3], [0, 0.1, 0.7, 19.9, 1])), 1)
    assert sample.boxes == ((0, 19.5, 0.7, 0.5, 19.3), (0, 0.1, 0.7, 19.9, 1))


def test_a_picture_is_there_once_whatever_its_path(tmp_path: Path) -> None:
    """Lines that say the same do no harm; of others nothing tells which is true, or whether they make a whole."""
    same = [line("a", [0, 1, 1, 5, 5], image=path) for path in ("a.jpg", "./a.jpg", "x/../a.jpg")]
    samples, dropped = read_channel(channel(tmp_path / "same", *same), 1)
    assert ([sample.name for sample in samples], dropped) == (["a.jpg"], [])
    lines = [line("a", [0, 1, 1, 5, 5]), line("b"), line("c"), line("./a", [0, 9, 9, 5, 5]), line("a")]
    samples, dropped = read_channel(channel(tmp_path / "differ", *lines), 1)
    assert [sample.name for sample in samples] == ["b.jpg", "c.jpg"]
    where = "line 1 of labels.jsonl and line 5 of labels.jsonl"
    assert [one.as_dict() for one in dropped] == [{"name": "a.jpg", "reason": f"{where} say different things of it"}]
    with pytest.raises(JobError, match=r"1 of the 1 pictures .* the first is a\.jpg: line 1 .* different things"):
        read_channel(channel(tmp_path / "each box a line", lines[0], lines[3]), 1)


def test_one_bad_item_is_left_out_with_its_reason(tmp_path: Path) -> None:
    folder = channel(tmp_path / "test", *(line(name) for name in "abcdef"), line("a", [7, 1, 1, 1, 1]), pictures=5)
    Image.new("RGB", (300, 1)).save(folder / "b.jpg")
    Image.new("RGB", (30, 20)).save(folder / "c.jpg")
    samples, dropped = read_channel(folder, 1)
    assert [item.name for item in dropped] == ["line 7 of labels.jsonl"]
    seen, unread = with_pictures("test", samples, None, lambda sample, picture: picture.shape)
    assert [(sample.name, shape) for sample, shape in seen] == [(f"{name}.jpg", (20, 20, 3)) for name in "ade"]
    reasons = {item.name: item.reason for item in unread}
    assert "300 × 1 pixels" in reasons["b.jpg"]
    assert reasons["c.jpg"] == "it is 30 x 20, its labels are for 20 x 20"
    assert "No such file" in reasons["f.jpg"]
    (folder / "e.jpg").write_bytes(b"")
    with pytest.raises(
        JobError, match=r"4 of the 6 pictures of the channel 'test' cannot be used; the first is b\.jpg"
    ):
        with_pictures("test", samples, None, lambda sample, picture: None)


def test_compressed_labels_are_read_and_damaged_ones_are_refused(tmp_path: Path) -> None:
    folder = channel(tmp_path / "c", line("a"))
    packed = gzip.compress((folder / "labels.jsonl").read_bytes())
    (folder / "labels.jsonl").unlink()
    (folder / "labels.jsonl.gz").write_bytes(packed)
    assert [sample.name for sample in read_channel(folder, 1)[0]] == ["a.jpg"]
    for damaged in (packed[:-9], b"{}"):
        (folder / "labels.jsonl.gz").write_bytes(damaged)
        with pytest.raises(JobError, match="labels of the channel 'c' cannot be read"):
            read_channel(folder, 1)


def test_a_channel_without_labels_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    Image.new("RGB", (20, 20)).save(tmp_path / "train" / "a.jpg")
    with pytest.raises(JobError, match="channel 'train' holds no labels"):
        read_channel(tmp_path / "train", 1)


# Models


def archive(path: Path, **files: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name.replace("__", "/").replace("_dot_", "."))
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def test_a_model_is_unpacked(tmp_path: Path) -> None:
    archive(tmp_path / "in" / "model.tar.gz", model_dot_json=b"{}")
    assert (unpack_model(tmp_path / "in", tmp_path / "out") / "model.json").read_bytes() == b"{}"


def test_a_damaged_or_hostile_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "model.tar.gz").write_bytes(b"no archive")
    with pytest.raises(JobError, match="cannot be unpacked"):
        unpack_model(tmp_path / "in", tmp_path / "out")
    archive(tmp_path / "in" / "model.tar.gz", **{"..__escaped": b"x"})
    with pytest.raises(JobError, match="cannot be unpacked"):
        unpack_model(tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "escaped").exists()


def test_base_from_scratch_and_the_order_of_channels(tmp_path: Path) -> None:
    environment = Environment(tmp_path)
    assert base_model.choose(environment, job(weights="scratch")).as_dict() == {
        "kind": "scratch",
        "detail": "yolo11n.yaml, random weights, as asked",
    }
    weights = tmp_path / "input" / "data" / "weights" / "given.pt"
    weights.parent.mkdir(parents=True)
    weights.touch()
    assert base_model.choose(environment, job(weights="other.pt")).kind == "weights"
    card = b'{"training_job": "job-7", "dataset_id": "ds-7"}'
    archive(tmp_path / "input" / "data" / "model" / "model.tar.gz", model_dot_pt=b"", model_dot_json=card)
    chosen = base_model.choose(environment, job())
    assert (chosen.kind, chosen.detail) == ("champion", "job-7 (dataset ds-7)")
    environment.remove_scratch()


def test_a_champion_without_weights_and_two_weights_are_refused(tmp_path: Path) -> None:
    environment = Environment(tmp_path)
    weights = tmp_path / "input" / "data" / "weights"
    weights.mkdir(parents=True)
    (weights / "a.pt").touch()
    (weights / "b.pt").touch()
    with pytest.raises(JobError, match=r"one \.pt file, and holds 2"):
        base_model.choose(environment, job())
    archive(tmp_path / "input" / "data" / "model" / "model.tar.gz", model_dot_json=b"{}")
    with pytest.raises(JobError, match=r"no model\.pt"):
        base_model.choose(environment, job())
    environment.remove_scratch()


def test_weights_by_name_lie_in_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.pt").touch()
    monkeypatch.chdir(tmp_path)
    chosen = base_model.choose(Environment(tmp_path), job(weights="mine.pt"))
    assert (chosen.kind, chosen.model) == ("name", str(tmp_path / "mine.pt"))


def test_weights_that_cannot_be_had_end_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the download fails (here: no network): nobody gets random weights who has not asked for them."""
    from skyloop_container.ultralytics_setup import prepare

    prepare(tmp_path / "settings")
    from ultralytics.utils import downloads

    def offline(*_: object, **__: object) -> str:
        raise ConnectionError("no network")

    def other(path: str, **_: object) -> str:
        Path(path).write_bytes(b"what a proxy says")
        return path

    monkeypatch.chdir(tmp_path)
    environment = Environment(tmp_path)
    for download, said in ((offline, r"could not be downloaded \(no network\)"), (other, "is something else")):
        monkeypatch.setattr(downloads, "attempt_download_asset", download)
        with pytest.raises(JobError, match=rf"yolo11n.pt {said}.*'scratch'"):
            base_model.choose(environment, job(weights="yolo11n.pt"))
    with pytest.raises(JobError, match=r"image has no base weights mine.pt\..*'scratch'"):
        base_model.choose(environment, job(weights="mine.pt"))
    with pytest.raises(JobError, match=r"Nothing says what to start from\..*'scratch'"):
        base_model.choose(environment, job())
    assert base_model.choose(environment, job(weights="scratch")).kind == "scratch"
    monkeypatch.setitem(base_model.DOWNLOADS, "yolo11n.pt", hashlib.sha256(b"what a proxy says").hexdigest())
    chosen = base_model.choose(environment, job(weights="yolo11n.pt"))
    assert (chosen.kind, chosen.detail) == ("name", "yolo11n.pt, downloaded from Ultralytics")
    environment.remove_scratch()


def test_weights_that_are_no_model_are_refused(tmp_path: Path) -> None:
    from skyloop_container.ultralytics_setup import prepare

    prepare(tmp_path / "settings")
    bad = tmp_path / "bad.pt"
    bad.write_bytes(b"not a checkpoint")
    with pytest.raises(JobError, match=r"bad\.pt cannot be loaded"):
        base_model.check_loadable(base_model.Base("weights", str(bad), "bad.pt"))


# torchvision


STAND_IN = """
import sys, torch
from skyloop_container.ultralytics_setup import import_torchvision
native = import_torchvision()
import torchvision
boxes = torch.tensor([[0., 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60]])
kept = torchvision.ops.nms(boxes, torch.tensor([.5, .9, .1]), .5)
print(native, kept.tolist(), torchvision.ops.nms.__module__)
"""


def run_python(code: str, *paths: Path) -> str:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, [*paths, CONTAINER]))}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_torchvision_works_with_and_without_its_native_operators() -> None:
    native, rest = run_python(STAND_IN).split(" ", 1)
    kept, module = rest.rsplit(" ", 1)
    assert json.loads(kept) == [1, 2]
    assert (native == "True") == (module.strip() != "skyloop_container.ultralytics_setup")


def test_working_native_operators_are_left_alone(tmp_path: Path) -> None:
    """A torchvision that imports is not touched: here one that only looks like it."""
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text("from . import ops\n")
    (package / "ops.py").write_text("def nms(*_):\n    import torch\n    return torch.tensor([7])\n")
    assert run_python(STAND_IN, tmp_path) == "True [7] torchvision.ops\n"


def test_another_error_of_torchvision_is_not_hidden(tmp_path: Path) -> None:
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text("raise RuntimeError('the disk is gone')\n")
    with pytest.raises(AssertionError, match="the disk is gone"):
        run_python(STAND_IN, tmp_path)


# The image


@pytest.mark.parametrize("arguments", [[], ["tarin"], ["train", "now"]])
def test_usage(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "skyloop_container", *arguments]
    done = subprocess.run(command, cwd=CONTAINER, capture_output=True, text=True, timeout=240)
    assert done.returncode == 2
    assert "train|evaluate|serve" in done.stderr


@pytest.mark.parametrize(("epochs", "rate"), [(1, 0.0005), (4, 0.0005), (8, 0.001), (16, 0.002), (100, 0.002)])
def test_a_champion_is_changed_the_more_slowly_the_shorter_the_run(epochs: int, rate: float) -> None:
    assert champion_arguments(1, epochs)["lr0"] == rate
