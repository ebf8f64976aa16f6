"""Managed warm pools: what a training job's machine keeps for the next one that matches.

Of a machine there is only its persistent cache here, `/opt/ml/sagemaker/warmpoolcache`; it is the same folder for one
job after the other, as on AWS: "SageMaker AI Managed Warm Pools" (developer guide).
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from laptop.sagemaker.core import errors
from laptop.sagemaker.core.context import Context
from laptop.sagemaker.core.resources import JobKind
from laptop.sagemaker.core.store import Record

CACHE = "/opt/ml/sagemaker/warmpoolcache"
LONGEST = 3600
"""Seconds that a machine may be kept, as the developer guide says; the service model has a larger number."""

_MATCHING = ("RoleArn", "VpcConfig", "EnableNetworkIsolation", "EnableInterContainerTrafficEncryption")
_MATCHING_RESOURCES = ("InstanceType", "InstanceCount", "VolumeSizeInGB", "VolumeKmsKeyId")


class WarmPools:
    """The warm pools of all training jobs; whose they are is in the jobs' records."""

    def __init__(self, context: Context, kind: JobKind) -> None:
        self._kind = kind
        self._lock = context.store.lock
        self._folder = context.home / "warm-pools"

    def take(self, name: str, cache: Path) -> None:
        """Give a job that starts the machine of one that matches; `cache` becomes what that has kept, or empty.

        Without a machine to take and a wish to keep its own there is no cache.
        """
        with self._lock:
            self.expire()
            job = self._kind.get(name)
            kept = next((one for one in self._available() if _machine(one) == _machine(job)), None)
            if not (kept or _keep_alive(job)):
                return
            cache.parent.mkdir(parents=True)
            if kept and (folder := self._folder / kept["TrainingJobName"]).is_dir():
                folder.replace(cache)
            else:
                cache.mkdir()
            if kept:
                self._close(kept, {"Status": "Reused", "ReusedByJob": name})
            self._kind.update(name, {"WarmPoolStatus": {"Status": "InUse"}})

    def leave(self, job: Record, cache: Path) -> Record:
        """What the record of a job that ends says of its machine, which is kept if that was asked for and it began."""
        if "WarmPoolStatus" not in job:
            return {}
        if not (_keep_alive(job) and cache.is_dir()):
            return {"WarmPoolStatus": {"Status": "Terminated", "ResourceRetainedBillableTimeInSeconds": 0}}
        self._folder.mkdir(exist_ok=True)
        cache.replace(self._folder / job["TrainingJobName"])
        return {"WarmPoolStatus": {"Status": "Available"}}

    def expire(self) -> None:
        """Give up machines whose time is over."""
        with self._lock:
            for job in self._available():
                if time.time() >= job["TrainingEndTime"] + _keep_alive(job):
                    shutil.rmtree(self._folder / job["TrainingJobName"], ignore_errors=True)
                    self._close(job, {"Status": "Terminated"})

    def _available(self) -> list[Record]:
        return [job for job in self._kind.all() if job.get("WarmPoolStatus", {}).get("Status") == "Available"]

    def _close(self, job: Record, status: Record) -> None:
        seconds = round(min(time.time() - job["TrainingEndTime"], _keep_alive(job)))
        status["ResourceRetainedBillableTimeInSeconds"] = seconds
        self._kind.update(job["TrainingJobName"], {"WarmPoolStatus": status})


def check(request: Record) -> None:
    """The rules of warm pools that the service model cannot say. Raises ValidationException."""
    seconds = _keep_alive(request)
    if seconds > LONGEST:
        raise errors.validation(f"KeepAlivePeriodInSeconds must be at most {LONGEST}.")
    if seconds and request.get("EnableManagedSpotTraining"):
        raise errors.validation("KeepAlivePeriodInSeconds is not supported for Spot training jobs.")


def _keep_alive(job: Record) -> int:
    return int(job["ResourceConfig"].get("KeepAlivePeriodInSeconds", 0))


def _machine(job: Record) -> list[object]:
    """What must be the same for a job to get the machine of another."""
    resources = job["ResourceConfig"]
    return [*(job.get(name) for name in _MATCHING), *(resources.get(name) for name in _MATCHING_RESOURCES)]
