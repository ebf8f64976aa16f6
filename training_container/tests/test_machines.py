"""Which machines and devices train, and what each process is told."""

import json
from pathlib import Path

import pytest
import torch
from skyloop_container.environment import Environment, JobError
from skyloop_container.machines import PORT, Machines, find_machines


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch):
    """Give this machine so many GPUs."""

    def have(count: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    return have


def described(folder: Path, **config: object) -> Environment:
    file = folder / "input" / "config" / "resourceconfig.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(config))
    return Environment(folder)


@pytest.mark.parametrize(
    "kind", ["ml.g4dn.xlarge", "ml.g5.xlarge", "ml.g6e.2xlarge", "ml.gr6.4xlarge", "ml.p4d.24xlarge"]
)
def test_a_gpu_that_cannot_be_used_fails_the_job_in_one_sentence(tmp_path: Path, gpus, kind: str) -> None:
    gpus(0)
    with pytest.raises(JobError, match=rf"The instance {kind} has a GPU, but torch .* cannot use it \(.+\)") as refused:
        find_machines(described(tmp_path, current_instance_type=kind), 16)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("kind", ["ml.m5.xlarge", "ml.c6i.large", "ml.r5.large", "ml.inf2.xlarge", ""])
def test_without_a_gpu_the_cpu_trains(tmp_path: Path, gpus, kind: str) -> None:
    gpus(0)
    machines = find_machines(described(tmp_path, current_instance_type=kind), 16)
    assert (machines.world_size, machines.device(0), machines.first) == (1, "cpu", True)


def test_why_a_gpu_cannot_be_used(tmp_path: Path, gpus, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("The NVIDIA driver on your system is too old (found version 11040).\nUpdate it.")

    gpus(0)
    environment = described(tmp_path, current_instance_type="ml.g5.xlarge")
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(JobError, match="built without CUDA"):
        find_machines(environment, 16)
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr(torch.cuda, "init", fail)
    with pytest.raises(JobError, match=r"driver on your system is too old \(found version 11040\)\.\)"):
        find_machines(environment, 16)


def test_one_machine_uses_every_gpu(tmp_path: Path, gpus) -> None:
    gpus(4)
    machines = find_machines(described(tmp_path, current_instance_type="ml.g5.12xlarge"), 16)
    assert [machines.device(number) for number in range(machines.processes)] == ["0", "1", "2", "3"]
    assert [machines.variables(number)["RANK"] for number in range(4)] == ["0", "1", "2", "3"]
    assert machines.variables(3) == {"RANK": "3", "LOCAL_RANK": "3", "WORLD_SIZE": "4"}
    assert machines.rendezvous(tmp_path) == f"file://{tmp_path}/rendezvous"


def test_every_machine_counts_the_others_alike(tmp_path: Path, gpus, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order of the names does not matter, and algo-10 comes after algo-2."""
    gpus(2)
    monkeypatch.delenv("MASTER_PORT", raising=False)
    hosts = [f"algo-{number}" for number in range(1, 12)]
    ranks, firsts = [], []
    for number, host in enumerate(hosts):
        order = hosts[number:] + hosts[:number]
        config = {"current_host": host, "hosts": order, "network_interface_name": "eth0"}
        machines = find_machines(described(tmp_path, **config), 44)
        assert (machines.world_size, machines.hosts[0]) == (22, "algo-1")
        told = [machines.variables(process) for process in range(machines.processes)]
        assert machines.rendezvous(tmp_path) == f"tcp://algo-1:{PORT}"
        assert {one["NCCL_SOCKET_IFNAME"] for one in told} == {one["GLOO_SOCKET_IFNAME"] for one in told} == {"eth0"}
        ranks += [int(one["RANK"]) for one in told]
        firsts.append(machines.first)
    assert ranks == list(range(22))
    assert firsts == [True] + [False] * 10


def test_a_batch_is_shared_equally_or_refused(tmp_path: Path, gpus) -> None:
    gpus(8)
    assert find_machines(described(tmp_path), 16).world_size == 8
    with pytest.raises(JobError, match=r"batch of 20 images cannot be shared equally by the 8 processes of 1 x 8 GPU"):
        find_machines(described(tmp_path), 20)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"current_host": "algo-3", "hosts": ["algo-1", "algo-2"]}, "algo-3, is not among"),
        ({"instance_groups": [{"instance_type": "ml.g5.xlarge"}, {"instance_type": "ml.c5.large"}]}, "of one type"),
    ],
)
def test_machines_that_cannot_train_together(tmp_path: Path, gpus, config: dict, reason: str) -> None:
    gpus(0)
    with pytest.raises(JobError, match=reason):
        find_machines(described(tmp_path, **config), 16)


@pytest.mark.parametrize("content", ["", "[1]", "{"])
def test_a_description_that_cannot_be_read(tmp_path: Path, content: str) -> None:
    environment = described(tmp_path)
    (tmp_path / "input" / "config" / "resourceconfig.json").write_text(content)
    with pytest.raises(JobError, match="The description of the machines"):
        find_machines(environment, 16)


def test_without_a_description_this_machine_is_the_only_one(tmp_path: Path, gpus) -> None:
    gpus(0)
    assert find_machines(Environment(tmp_path), 16) == Machines()
