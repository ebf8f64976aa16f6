"""Which cloud a command talks to, and what a person reads when it cannot."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import boto3
import pytest
from botocore import exceptions as aws
from botocore.stub import Stubber
from typer.testing import CliRunner

from cli import start
from cli.cloud import Cloud, Outputs, laptop_cloud
from cli.command import Target
from cli.errors import CliError, translated
from cli.main import app
from cli.start import parse_parameters
from cli.weights import local_weights
from laptop import deploy, lifecycle, preflight, running
from laptop.account import make_keys, read_keys
from laptop.running import Running


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "SKYLOOP_STACK", "SKYLOOP_HOME", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("COLUMNS", "200")


def laptop(home: Path, **changes: object) -> Path:
    home.mkdir(exist_ok=True)
    running = {"endpoint_url": "http://127.0.0.1:4599", "pid": 1, "stack_name": "skyloop-dev", **changes}
    (home / "laptop.json").write_text(json.dumps(running))
    make_keys(home)
    return home


def test_the_keys_for_the_tools_of_aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = laptop(tmp_path / "home")
    monkeypatch.setenv("COLUMNS", "20")  # a narrow terminal must not break the keys into lines
    code, out, _ = run("credentials", "--home", home)
    assert code == 0
    script = f'{out}\nprintf "%s %s %s" "$AWS_ACCESS_KEY_ID" "$AWS_SECRET_ACCESS_KEY" "$AWS_ENDPOINT_URL"'
    shell = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    keys = read_keys(home)
    assert shell.stdout == f"{keys.access_key_id} {keys.secret_access_key} http://127.0.0.1:4599"
    # boto3 takes its region from AWS_DEFAULT_REGION alone.
    script = f'{out}\n"{sys.executable}" -c "import boto3; print(boto3.client(\'sqs\').meta.endpoint_url)"'
    shell = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert shell.stdout == "http://127.0.0.1:4599\n"
    # The AWS CLI reads a credential_process's document.
    document = json.loads(run("credentials", "--home", home, "--json")[1])
    assert document == {"Version": 1, "AccessKeyId": keys.access_key_id, "SecretAccessKey": keys.secret_access_key}


@pytest.mark.parametrize("content", ["", "{", "[]", "[" * 100_000, '{"AccessKeyId": "a"}'])
def test_damaged_keys_are_two_lines(tmp_path: Path, content: str) -> None:
    home = laptop(tmp_path / "home")
    (home / "credentials.json").write_text(content)
    code, _, err = run("status", "--home", home)
    assert code == 1
    assert "credentials.json" in err
    said = " ".join(err.split())
    # `up` refuses them too, so that the first message names all that is to be done.
    assert f"Run `skyloop down`, remove {home / 'credentials.json'}, then `skyloop up`" in said


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert "Traceback" not in result.output
    return result.exit_code, result.stdout, result.stderr


def test_the_laptop_is_the_default(tmp_path: Path) -> None:
    cloud = Target(home=laptop(tmp_path / "home")).connect()
    assert cloud.endpoint_url == "http://127.0.0.1:4599"
    assert cloud.client("s3").meta.endpoint_url == "http://127.0.0.1:4599"


def test_the_record_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two readings `down` may write that there is no process, or `up` that there is another one."""
    home, read = laptop(tmp_path / "home"), running.read
    records = [read(home), None]
    monkeypatch.setattr("cli.cloud.read", lambda _: records.pop(0))
    assert Target(home=home).connect().endpoint_url == "http://127.0.0.1:4599"
    assert records == [None]


@pytest.mark.parametrize("given", [{"region": "eu-west-1"}, {"stack": "mine"}])
def test_naming_aws_leaves_the_laptop_alone(tmp_path: Path, given: dict[str, str]) -> None:
    cloud = Target(home=laptop(tmp_path / "home"), **given).connect()
    assert cloud.endpoint_url is None
    assert cloud.stack_name == given.get("stack", "skyloop-dev")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "No laptop cloud is running"),
        ('{"endpoint_url": "http://127.0.0.1:1", "pid": null, "stack_name": "s"}', "is stopped"),
        *((odd, "cannot be read") for odd in ("", "{", "[1]", "null", "[" * 100_000, "\x00")),
        *(
            (json.dumps({"endpoint_url": "http://127.0.0.1:1", "pid": 1, **odd}), "cannot be read")
            for odd in ({"pid": True}, {"pid": "1"}, {"pid": -1}, {"outputs": []}, {"given": {"a": 1}})
        ),
        *(
            (json.dumps({"endpoint_url": url, "pid": 1}), "cannot be read")
            for url in (1, None, "::", "http://127.0.0.1:x", "http://127.0.0.1.example.com:1", "http://127.0.0.1:1@e")
        ),
        ('{"endpoint_url": "https://example.com", "pid": 1, "stack_name": "s"}', "not this machine"),
    ],
)
def test_a_laptop_that_is_not_there(tmp_path: Path, content: str | None, says: str) -> None:
    if content is not None:
        (tmp_path / "laptop.json").write_text(content)
    with pytest.raises(CliError, match=says) as refused:
        laptop_cloud(tmp_path)
    assert "skyloop up" in refused.value.next_step


def test_a_broken_record_gets_one_advice_from_every_command(tmp_path: Path) -> None:
    (tmp_path / "laptop.json").write_text("{")
    said = {run(command, "--home", tmp_path, "--json") for command in ("status", "up", "down")}
    assert len(said) == 1
    code, out, err = said.pop()
    assert (code, out) == (1, "")
    assert "remove the file, then run `skyloop up`" in json.loads(err)["next_step"]


@pytest.mark.parametrize("command", [("status",), ("drop", "."), ("watch",), ("alerts",), ("rollback",), ("label",)])
def test_every_command_says_that_nothing_runs(tmp_path: Path, command: tuple[str, ...]) -> None:
    code, out, err = run(*command, "--home", tmp_path / "none")
    assert (code, out) == (1, "")
    assert "skyloop up" in err


@pytest.fixture
def silent() -> Iterator[int]:
    """A port at which the kernel takes connections and nobody answers, as that of a suspended process."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_laptop_that_is_suspended_is_told_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, silent: int
) -> None:
    monkeypatch.setattr(running, "ANSWER_SECONDS", 0.05)
    home = laptop(tmp_path / "home", endpoint_url=f"http://127.0.0.1:{silent}", pid=os.getpid())
    code, out, err = run("status", "--home", home)
    assert (code, out) == (1, "")
    assert "has not answered" in err
    assert f"kill -CONT {os.getpid()}" in err
    assert "skyloop down" in err


def test_errors_as_json_for_scripts(tmp_path: Path) -> None:
    code, out, err = run("status", "--home", tmp_path / "none", "--json")
    assert (code, out) == (1, "")
    assert set(json.loads(err)) == {"error", "next_step"}


def test_a_laptop_that_was_killed_is_told_from_one_that_does_not_answer(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    code, _, err = run("status", "--home", laptop(tmp_path / "home", pid=ended.pid))
    assert code == 1
    assert "has ended" in err
    assert "`skyloop up` starts it again" in " ".join(err.split())


@pytest.mark.parametrize("command", ["up", "down", "status"])
def test_a_home_that_is_a_file(tmp_path: Path, command: str) -> None:
    (tmp_path / "file").write_text("")
    for home in (tmp_path / "file", tmp_path / "file" / "below"):
        code, _, err = run(command, "--home", home)
        assert code == 1
        said = " ".join(err.split())
        assert "is no folder and lies in none" in said if command == "up" else "No laptop cloud" in said
        assert "Make room" not in said


def test_a_laptop_that_died_is_told_from_one_that_is_stopped(tmp_path: Path) -> None:
    code, _, err = run("status", "--home", laptop(tmp_path / "home", endpoint_url="http://127.0.0.1:9"))
    assert code == 1
    assert "Nothing answers at http://127.0.0.1:9" in err
    assert "skyloop up" in err


def test_aws_without_credentials_or_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    code, _, err = run("status", "--region", "eu-west-1")
    assert code == 1
    assert "--profile" in err
    code, _, err = run("status", "--profile", "nobody")
    assert code == 1
    assert "nobody" in err


def stubbed(response: dict | None = None, code: str = "") -> Cloud:
    session = boto3.Session("a", "b", region_name="eu-west-1")
    cloud = Cloud(session, "skyloop-dev")
    stubber = Stubber(cloud.client("cloudformation"))
    if response is not None:
        stubber.add_response("describe_stacks", response, {"StackName": "skyloop-dev"})
    else:
        stubber.add_client_error("describe_stacks", code, "Stack with id skyloop-dev does not exist")
    stubber.activate()
    return cloud


def stack(**outputs: str) -> dict:
    return {
        "Stacks": [
            {
                "StackName": "skyloop-dev",
                "CreationTime": "2026-01-01T00:00:00Z",
                "StackStatus": "CREATE_COMPLETE",
                "Outputs": [{"OutputKey": key, "OutputValue": value} for key, value in outputs.items()],
            }
        ]
    }


def test_names_come_from_the_stacks_outputs() -> None:
    cloud = stubbed(stack(DataBucketName="b", EndpointName="e"))
    assert (cloud.bucket, cloud.endpoint_name) == ("b", "e")


def test_an_output_of_another_version() -> None:
    with pytest.raises(CliError, match="no output DataBucketName") as refused:
        _ = stubbed(stack(EndpointName="e")).bucket
    assert "deploy" in refused.value.next_step


def test_no_such_stack() -> None:
    with pytest.raises(CliError, match="no stack skyloop-dev on AWS") as refused:
        _ = stubbed(code="ValidationError").outputs
    assert "sam deploy" in refused.value.next_step


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (aws.NoRegionError(), "--region"),
        (aws.NoCredentialsError(), "--profile"),
        (aws.ProfileNotFound(profile="x"), "list-profiles"),
        (aws.EndpointConnectionError(endpoint_url="http://x"), "skyloop up"),
        (aws.ReadTimeoutError(endpoint_url="http://x"), "skyloop up"),
        (aws.ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "ListObjects"), "permission"),
        (aws.ClientError({"Error": {"Code": "ExpiredToken", "Message": "old"}}, "ListObjects"), "sso login"),
        (aws.ClientError({"Error": {"Code": "Odd", "Message": "[brackets]"}}, "ListObjects"), "skyloop status"),
    ],
)
def test_every_error_names_a_next_step(error: Exception, says: str) -> None:
    with pytest.raises(CliError) as refused, translated():
        raise error
    assert says in refused.value.next_step


@pytest.mark.parametrize("pair", ["Epochs", "=5", ""])
def test_parameters_are_key_value(pair: str) -> None:
    with pytest.raises(CliError, match="not Key=Value"):
        parse_parameters([pair])


@pytest.mark.parametrize("window", ["24000-20000", "5-5", "0-65536", "20000", "a-b"])
def test_a_window_that_no_training_takes_is_refused_before_anything_is_started(tmp_path: Path, window: str) -> None:
    code, _, err = run("up", "--home", tmp_path / "home", "--parameter", f"RadiometricWindow={window}")
    assert code == 1
    assert f"RadiometricWindow={window} is no radiometric window." in err
    assert "the lower first" in " ".join(err.split())
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("pair", ["ImageSize=333", "ImageSize=nan", "SliceSize=1", "SliceSize=30", "SliceSize=63"])
def test_a_side_that_no_training_takes_is_refused_before_anything_is_started(tmp_path: Path, pair: str) -> None:
    code, _, err = run("up", "--home", tmp_path / "home", "--parameter", pair)
    assert code == 1
    assert f"{pair} must be" in err
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("pair", ["ImageSize=640", "ImageSize=x", "SliceSize=0", "SliceSize=64", "SliceSize=16384"])
def test_other_sides_are_handed_on(pair: str) -> None:
    assert parse_parameters([pair]) == dict([pair.split("=")])


@pytest.mark.parametrize("window", ["", "0-65535", "20000-24000"])
def test_a_window_is_handed_on(window: str) -> None:
    assert parse_parameters([f"RadiometricWindow={window}"]) == {"RadiometricWindow": window}


def test_parameters() -> None:
    assert parse_parameters(["Epochs=20", "AlertHttpsUrl=https://a?b=c"]) == {
        "Epochs": "20",
        "AlertHttpsUrl": "https://a?b=c",
    }


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (preflight.Refused("no"), "Change the template"),
        (deploy.DeployError("no"), "Correct what is named above"),
        (lifecycle.LaptopError("no"), "run `skyloop up` again"),
    ],
)
def test_an_up_that_fails_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, says: str
) -> None:
    def up(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(lifecycle, "up", up)
    code, _, err = run("up", "--home", tmp_path, "--json")
    assert code == 1
    assert says in json.loads(err)["next_step"]


@pytest.mark.parametrize("weights", ["s3://elsewhere/base/yolo11n.pt", "yolo11n.pt"])
def test_an_up_looks_for_the_weights_that_training_is_to_start_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cloud: Cloud, weights: str
) -> None:
    outputs = {"BaseWeights": weights}
    monkeypatch.setattr(Cloud, "outputs", Outputs(outputs))
    up = Running("http://127.0.0.1:1", None, "skyloop-dev", outputs)
    monkeypatch.setattr(lifecycle, "up", lambda *_, **__: up)
    monkeypatch.setattr(start, "laptop_cloud", lambda home: cloud)
    code, _, err = run("up", "--home", tmp_path, "--base-weights", weights, "--json")
    assert code == (1 if weights.startswith("s3://") else 0)
    assert (f"There is no {weights} (the parameter BaseWeights)." in err) == bool(code)


@pytest.mark.parametrize("there", [True, False])
def test_an_up_that_fails_names_a_log_only_where_there_is_one(tmp_path: Path, there: bool) -> None:
    (tmp_path / "lifecycle.lock").mkdir()  # whatever the rights are: who runs as root may write everywhere
    log = tmp_path / "logs" / "server.log"
    if there:
        log.parent.mkdir()
        log.touch()
    code, _, err = run("up", "--home", tmp_path, "--json")
    assert code == 1
    told = json.loads(err)
    assert "cannot be written to" in told["error"]
    assert (str(log) in told["next_step"]) == there


def test_base_weights(tmp_path: Path) -> None:
    weights = tmp_path / "yolo11n_coco.pt"
    weights.write_bytes(b"x")
    assert local_weights(str(weights)) == weights
    for name in ("yolo11n.pt", "yolo11x.pt", "scratch"):
        assert local_weights(name) is None
    for name in ("nosuch.pt", "yolo11n", "yolov8s-oiv7.pt", "yolo11n-seg.pt", "forest"):
        assert local_weights(name, image_of_yours=True) is None
        with pytest.raises(CliError, match=f"There is no {name}, and no weights to download go by that name"):
            local_weights(name)
    assert local_weights("s3://b/w.pt") is None
    assert local_weights(None) is None
    with pytest.raises(CliError, match="There is no"):
        local_weights(str(tmp_path / "none.pt"))
    (tmp_path / "w.onnx").write_bytes(b"x")
    with pytest.raises(CliError, match=r"not a \.pt file"):
        local_weights(str(tmp_path / "w.onnx"))


def test_the_version_of_an_installed_skyloop_and_of_a_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", lambda name: {"skyloop": "1.2.3"}[name])
    assert run("--version") == (0, "skyloop 1.2.3\n", "")

    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    code, out, _ = run("--version")
    assert code == 0
    assert "version unknown" in out


@pytest.mark.parametrize("command", ["up", "drop", "label", "status", "watch", "alerts", "logs", "detect", "rollback"])
def test_every_command_has_help_and_json(command: str) -> None:
    code, out, _ = run(command, "--help")
    assert code == 0
    assert "--json" in out
