"""SageMaker's container contract: where files are under /opt/ml, and how a job says why it failed.

Formats: "How Amazon SageMaker AI Provides Training Information" and "Processes Training Output" (training), and
"How You Can Save Metadata Information About Your Processing Job" (processing) in the SageMaker developer guide.
`SAGEMAKER_BASE_DIR` moves /opt/ml, as it does for AWS's own sagemaker-training toolkit.
"""

import json
import os
import shutil
import tarfile
import tempfile
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

TERMINATED = 143
"""Exit code of a program that SIGTERM ended: 128 + SIGTERM, as shells count it."""

FAILURE_CHARACTERS = 1024  # SageMaker keeps this many of /opt/ml/output/failure as FailureReason


def available_cores() -> int:
    """How many cores this process may run on: its affinity, where the system has one, not the machine's number."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class JobError(Exception):
    """A job cannot be done, for a reason that its owner can act on. The text is one sentence for a person."""


class Interrupted(Exception):
    """SIGTERM came: what can be kept is in the checkpoint folder, and the job must end."""


@dataclass(frozen=True)
class Environment:
    """The folders of one job or endpoint below `base` (normally /opt/ml)."""

    base: Path

    @classmethod
    def current(cls) -> "Environment":
        """The folders of this process's job."""
        return cls(Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml")))

    @property
    def model_dir(self) -> Path:
        """What a training job leaves here becomes model.tar.gz; an endpoint finds it here again."""
        return self.base / "model"

    @property
    def checkpoint_dir(self) -> Path:
        """SageMaker copies this folder to S3 while the job runs, and back before it resumes."""
        return self.base / "checkpoints"

    @property
    def kept_slices(self) -> Path:
        """Where slices are kept for the next training: SageMaker keeps this folder with the instances of a warm pool.

        It is there if the job asks for KeepAlivePeriodInSeconds; elsewhere slices are gone with the job.
        docs.aws.amazon.com/sagemaker/latest/dg/train-warm-pools.html
        """
        cache = self.base / "sagemaker" / "warmpoolcache"
        return (cache if cache.is_dir() else self.scratch) / "slices"

    @property
    def processing_input(self) -> Path:
        """One folder per input of a processing job."""
        return self.base / "processing" / "input"

    @property
    def processing_output(self) -> Path:
        """What a processing job leaves here is uploaded when it ends."""
        return self.base / "processing" / "output"

    @cached_property
    def scratch(self) -> Path:
        """A private folder for what must be written but not kept, made at the first use."""
        return Path(tempfile.mkdtemp(prefix="skyloop-"))

    def remove_scratch(self) -> None:
        """Remove the scratch folder, if there is one."""
        if "scratch" in vars(self):
            shutil.rmtree(self.scratch, ignore_errors=True)

    def channel(self, name: str) -> Path | None:
        """The folder of a training channel, or None where the job has no such channel, or an empty one."""
        folder = self.base / "input" / "data" / name
        return folder if folder.is_dir() and any(folder.iterdir()) else None

    def hyperparameters(self) -> dict[str, str]:
        """The hyperparameters as SageMaker writes them: a flat object of strings.

        Raises:
            JobError: the file is missing or is not such an object.
        """
        path = self.base / "input" / "config" / "hyperparameters.json"
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise JobError(f"The hyperparameters at {path} cannot be read: {error}.") from error
        if not isinstance(values, dict):
            raise JobError(f"The hyperparameters at {path} are not a JSON object.")
        return {str(name): str(value) for name, value in values.items()}

    def resource_config(self) -> dict[str, Any]:
        """The machines of a training job as SageMaker describes them: `current_host`, `hosts`, and so on.

        Empty where there is no such file: then this machine is the only one.

        Raises:
            JobError: the file is no JSON object.
        """
        path = self.base / "input" / "config" / "resourceconfig.json"
        if not path.exists():
            return {}
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise JobError(f"The description of the machines at {path} cannot be read: {error}.") from error
        if not isinstance(values, dict):
            raise JobError(f"The description of the machines at {path} is not a JSON object.")
        return values

    def input_age(self) -> float:
        """Seconds since SageMaker began to bring what lies below input/; 0 where nothing does.

        By the time of change of its folders and files, which nothing but their writing sets.
        """
        folder = self.base / "input"
        times = [path.stat().st_ctime for path in (*folder.glob("config/*"), *folder.glob("data/*"))]
        return max(time.time() - min(times), 0.0) if times else 0.0

    def training_job_name(self) -> str:
        """TRAINING_JOB_NAME, which SageMaker sets in a training container; "" when unset."""
        return os.environ.get("TRAINING_JOB_NAME", "")

    def write_training_failure(self, sentence: str) -> None:
        """Write the reason where SageMaker reads FailureReason."""
        self._write_output("failure", sentence[:FAILURE_CHARACTERS])

    def write_processing_message(self, sentence: str) -> None:
        """Write the text that becomes ExitMessage: at most 1 KB of UTF-8, cut between two characters."""
        self._write_output("message", sentence.encode("utf-8")[:1024].decode("utf-8", "ignore"))

    def _write_output(self, name: str, text: str) -> None:
        path = self.base / "output" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def write_whole(path: Path, content: bytes) -> None:
    """Write a file in one step: whoever reads it meanwhile, or copies it to S3, has all of the old or the new one."""
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(content)
    part.replace(path)


def model_archive(folder: Path) -> Path | None:
    """The model.tar.gz in a channel or processing input; None where the files lie there loose, or not at all."""
    return min(folder.rglob("*.tar.gz"), default=None)


def unpack_model(folder: Path, into: Path) -> Path:
    """Find the model in a channel or processing input: `model.tar.gz` is unpacked, loose files are used as they are.

    Args:
        folder: holds model.tar.gz, or model.json and its companions.
        into: where to unpack; created.

    Returns:
        The folder that holds the model's files.

    Raises:
        JobError: there is no model, or the archive is damaged or tries to leave its folder.
    """
    packed = model_archive(folder)
    if packed is None:
        if (folder / "model.json").exists():
            return folder
        raise JobError(f"No model.tar.gz in the input '{folder.name}'.")
    into.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(packed) as archive:
            archive.extractall(into, filter="data")
    except (tarfile.TarError, OSError, EOFError) as error:
        raise JobError(f"The model archive in the input '{folder.name}' cannot be unpacked: {error}.") from error
    return into
