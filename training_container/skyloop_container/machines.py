"""What a training runs on: every GPU of this machine, and of the job's others, as resourceconfig.json names them.

Format: "Distributed training configuration" in the SageMaker developer guide.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

import torch

from .environment import Environment, JobError

# g4dn, g5, g6, g6e, gr6, p3, p4d, p5 …: https://aws.amazon.com/sagemaker/ai/pricing/ calls these accelerated.
_HAS_GPU = re.compile(r"ml\.(g|gr|p)\d")

PORT = 29500
"""Of the first machine, where the processes of several find each other; MASTER_PORT changes it."""


@dataclass(frozen=True)
class Machines:
    """The machines of a job, and how many processes each has: one for a GPU, one where there is none.

    hosts: their names, in the same order on each machine.
    index: which of them is this one, from 0.
    gpus: of this machine; the others have as many.
    interface: of the network between them; empty where nothing names it.
    """

    hosts: tuple[str, ...] = ("algo-1",)
    index: int = 0
    gpus: int = 0
    interface: str = ""

    @property
    def first(self) -> bool:
        """Whether this machine keeps the checkpoints and exports the model."""
        return self.index == 0

    @property
    def processes(self) -> int:
        """On each machine."""
        return max(self.gpus, 1)

    @property
    def world_size(self) -> int:
        """Processes on all machines."""
        return len(self.hosts) * self.processes

    def device(self, number: int) -> str:
        """Of this machine's process of that number, as Ultralytics names it."""
        return str(number) if self.gpus else "cpu"

    def rendezvous(self, scratch: Path) -> str:
        """Where the processes find each other, in torch.distributed's words: a file, or a port of the first machine."""
        if len(self.hosts) == 1:
            return f"file://{scratch}/rendezvous"
        return f"tcp://{self.hosts[0]}:{os.environ.get('MASTER_PORT', PORT)}"

    def variables(self, number: int) -> dict[str, str]:
        """What torch.distributed, NCCL and Gloo read, for this machine's process of that number."""
        network = ("NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME") if self.interface else ()
        return dict.fromkeys(network, self.interface) | {
            "RANK": str(self.index * self.processes + number),
            "LOCAL_RANK": str(number),
            "WORLD_SIZE": str(self.world_size),
        }

    def __str__(self) -> str:
        return f"{len(self.hosts)} x {f'{self.gpus} GPU' if self.gpus else 'CPU'}"


def find_machines(environment: Environment, batch: int) -> Machines:
    """The machines of this job.

    Args:
        environment: the job's.
        batch: images per step, of all processes together.

    Raises:
        JobError: the machine has a GPU that cannot be used; the description fits no training; or the batch cannot be
            shared equally.
    """
    config = environment.resource_config()
    kind = str(config.get("current_instance_type", ""))
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if _HAS_GPU.match(kind) and not gpus:
        raise JobError(
            f"The instance {kind} has a GPU, but torch {torch.__version__} cannot use it ({_why_not()}): train with an "
            "image that has CUDA, or on an instance without a GPU."
        )
    hosts = tuple(sorted(map(str, config.get("hosts") or ["algo-1"]), key=_natural))
    here = str(config.get("current_host", hosts[0]))
    if here not in hosts:
        raise JobError(f"This machine, {here}, is not among the job's: {', '.join(hosts)}.")
    kinds = {str(group.get("instance_type")) for group in config.get("instance_groups") or []}
    if len(kinds) > 1:
        raise JobError(f"The machines of a training must be of one type, not {' and '.join(sorted(kinds))}.")
    machines = Machines(hosts, hosts.index(here), gpus, str(config.get("network_interface_name", "")))
    if batch % machines.world_size:
        raise JobError(
            f"A batch of {batch} images cannot be shared equally by the {machines.world_size} processes of "
            f"{machines}: use a multiple of {machines.world_size}."
        )
    return machines


def _natural(host: str) -> tuple[int, str]:
    """algo-2 before algo-10."""
    return len(host), host


def _why_not() -> str:
    if torch.version.cuda is None:
        return "it is built without CUDA"
    try:
        torch.cuda.init()
    except Exception as error:  # the driver's, the runtime's or torch's own
        return str(error).splitlines()[0][:200]
    return "it finds no device"
