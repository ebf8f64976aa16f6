"""What runs behind one endpoint: created, deployed to, scaled and closed in a thread of its own.

An endpoint's record in the store is what DescribeEndpoint shows; this is its processes.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from laptop.sagemaker.core import images, transfer
from laptop.sagemaker.core.context import Context
from laptop.sagemaker.core.logs import LogStream
from laptop.sagemaker.core.resources import Kind
from laptop.sagemaker.core.store import Record
from laptop.sagemaker.endpoints import blue_green, capture, describe, invocations, model_data
from laptop.sagemaker.endpoints.blue_green import Cancelled, Unhealthy
from laptop.sagemaker.endpoints.instances import Fleet, Instance, Launch, VariantFleet
from laptop.sagemaker.endpoints.rollout import Rollout, alarm_states

log = logging.getLogger(__name__)

# How long a container may take to answer /ping where the variant does not say (ContainerStartupHealthCheckTimeoutIn-
# Seconds, 60 s at least). `container_startup_seconds` in the home's sagemaker.json overrides both.
_STARTUP_SECONDS = 60.0
# How many times faster than on AWS a deployment bakes: whoever sits before it does not wait for minutes of traffic that
# nobody sends. `bake_speed` in the home's sagemaker.json overrides it.
_BAKE_SPEED = 60.0
# Between tries to build a fleet when a disk is full or S3 cannot be reached. An endpoint that was in service is built
# in the end, however long that takes.
_BUILD_PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0)
# What a record keeps of an update until it is over, however the cloud ends meanwhile (None stands for a field to
# remove): the request, and why it is being rolled back.
_OVER = {"_update": None, "_rollback_reason": None, "PendingDeploymentSummary": None}


class LiveEndpoint:
    """The processes of one endpoint. One operation at a time works on them."""

    def __init__(self, context: Context, endpoints: Kind, traffic: invocations.Invocations, name: str) -> None:
        self.context = context
        self.name = name
        self.folder = context.home / "endpoints" / name
        self.cancelled = threading.Event()
        self.capture = capture.Capture(name, self._put_capture)
        self.fleet: Fleet | None = None
        self.traffic: invocations.Traffic | None = None
        self.brought_back = threading.Event()
        """Set once the endpoint is as it was before the cloud stopped, or is known not to become so."""
        self._endpoints = endpoints
        self._invocations = traffic
        self._thread: threading.Thread | None = None

    def run(self, work: Callable[[], None]) -> None:
        """Do the work in a thread. An unexpected error is logged, and the endpoint fails with it as its reason."""

        def guarded() -> None:
            with self.context.store.insisting():
                try:
                    work()
                except Cancelled:
                    log.info("endpoint %s: operation abandoned", self.name)
                except Exception as error:
                    log.exception("endpoint %s", self.name)
                    with contextlib.suppress(KeyError):
                        self.change("Failed", FailureReason=f"InternalServerError: {error}", **_OVER)
                finally:
                    self.brought_back.set()

        self._thread = threading.Thread(target=guarded, name=f"endpoint-{self.name}", daemon=True)
        self._thread.start()

    def create(self) -> None:
        """Start the first fleet: InService when every instance is healthy, else Failed."""
        config = self.record()["_config"]
        fleet = None
        try:
            fleet = self.build(config)
            fleet.wait_healthy(self.cancelled)
        except (Unhealthy, Cancelled) as error:
            if fleet:
                fleet.stop()
            if isinstance(error, Cancelled):
                raise
            self.change("Failed", FailureReason=str(error))
            return
        self.serve(fleet)
        self.change("InService", **describe.in_service(fleet), FailureReason=None)

    def restore(self) -> None:
        """Serve the config, counts and weights that were in service before the cloud stopped.

        Then go on with the update that this interrupted. It is acknowledged, and AWS does not forget it: who waits for
        it would take an endpoint in service on the config before for one whose update was rolled back.
        """
        update = self.record().get("_update")
        if update is None:
            self.change("SystemUpdating", PendingDeploymentSummary=None)
        elif self.record()["EndpointStatus"] == "Updating" and self._rings(update.get("guardrails")):
            self.change("RollingBack", _rollback_reason=blue_green.NO_REASON)
        try:
            fleet = self.build(
                self.record()["_config"], itertools.chain(_BUILD_PAUSES, itertools.repeat(_BUILD_PAUSES[-1]))
            )
        except Unhealthy as error:
            self.change("Failed", FailureReason=str(error), **_OVER)
            return
        self.serve(fleet)
        if update is None:
            self.change("InService", **describe.in_service(fleet), FailureReason=None)
        # As on AWS, an endpoint whose containers all crash stays in service and answers 503.
        with contextlib.suppress(Unhealthy):
            fleet.wait_healthy(self.cancelled)
        self.brought_back.set()
        if update is not None:
            self.update()

    def _rings(self, guardrails: Record | None) -> bool:
        """Whether an alarm of a deployment rang before the cloud ended: it may be silent once all serves again."""
        return "ALARM" in alarm_states(self.context, blue_green.alarms(guardrails)).values()

    def update(self) -> None:
        """Carry out the update that the record has, from its beginning; a rollback that had begun is finished."""
        update = self.record()["_update"]
        if "desired" in update:
            self._rescale(update["desired"])
        else:
            self._deploy(update["config"], update["guardrails"], update["began"])

    def _deploy(self, config: Record, guardrails: Record | None, began: float) -> None:
        """Replace the fleet, blue/green: afterwards the new config is in service, or the old one again."""
        rollout = Rollout(self, config, began)
        record = self.record()
        try:
            if record["EndpointStatus"] == "RollingBack":
                outcome = blue_green.roll_back(rollout, record["_rollback_reason"])
            else:
                plan = blue_green.plan(guardrails, describe.instance_counts(config))
                hastened = blue_green.hasten(plan, float(self.context.settings().get("bake_speed", _BAKE_SPEED)))
                outcome = blue_green.carry_out(hastened, rollout, time.monotonic, self.pause)
        except Cancelled:
            rollout.abandon()
            raise
        status, fields = "InService", {"FailureReason": outcome.reason or rollout.stranded or None}
        if outcome.completed:
            assert self.fleet is not None
            fields.update(describe.in_service(self.fleet))
        elif rollout.stranded:
            status = "UpdateRollbackFailed"
        self.change(status, **fields, **_OVER)

    def _rescale(self, desired: list[Record]) -> None:
        """Set new weights at once, and new counts, or the old counts again if added instances do not get healthy."""
        assert self.fleet is not None
        assert self.traffic is not None
        configured = {variant["VariantName"]: variant for variant in self.fleet.config["ProductionVariants"]}
        before = {name: variant["InitialInstanceCount"] for name, variant in configured.items()}
        for item in desired:
            variant = configured[item["VariantName"]]
            variant["InitialInstanceCount"] = item.get("DesiredInstanceCount", variant["InitialInstanceCount"])
            variant["InitialVariantWeight"] = item.get("DesiredWeight", variant["InitialVariantWeight"])
        self.traffic.weights = invocations.weights(self.fleet.config)
        self.change(None, ProductionVariants=describe.in_service(self.fleet)["ProductionVariants"])
        reason = None
        try:
            self._scale_to({name: variant["InitialInstanceCount"] for name, variant in configured.items()})
        except Unhealthy as error:
            reason = str(error)
            for name, count in before.items():
                configured[name]["InitialInstanceCount"] = count
            self._scale_to(before)
        self.change("InService", **describe.in_service(self.fleet), FailureReason=reason, **_OVER)

    def _scale_to(self, counts: dict[str, int]) -> None:
        assert self.fleet is not None
        for name, count in counts.items():
            self.fleet.variants[name].scale(count)
        self.fleet.wait_healthy(self.cancelled)

    def close(self) -> None:
        """End the processes. An operation in progress is abandoned."""
        self.cancelled.set()
        self._invocations.close(self.name)
        if self._thread and self._thread is not threading.current_thread():
            self._thread.join()
        if self.fleet:
            self.fleet.stop()
            self.fleet = None
        self.capture.flush(everything=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def serve(self, fleet: Fleet) -> None:
        """Let requests in."""
        self.fleet = fleet
        self.traffic = invocations.Traffic(self.name, fleet, invocations.weights(fleet.config), self.capture)
        self._invocations.open_to(self.traffic)

    def pause(self, seconds: float) -> None:
        """Wait. Raises Cancelled."""
        if self.cancelled.wait(seconds):
            raise Cancelled

    def build(self, config: Record, pauses: Iterable[float] = _BUILD_PAUSES) -> Fleet:
        """Fetch the models and start the instances of a config; does not wait for them.

        What may pass (a full disk, S3 that cannot be reached) is tried again after each of the pauses, in seconds.
        Raises Unhealthy or Cancelled.
        """
        reason: Exception | None = None
        for pause in itertools.chain(pauses, (0.0,)):
            try:
                return self._build(config)
            except (OSError, transfer.Unavailable) as error:
                log.warning("endpoint %s: its instances cannot be started now: %s", self.name, error)
                reason = error
            self.pause(pause)
        raise Unhealthy(f"InternalServerError: {reason}")

    def _build(self, config: Record) -> Fleet:
        folder = self.folder / secrets.token_hex(4)
        fleet = Fleet(config, folder, {})
        try:
            for variant in config["ProductionVariants"]:
                fleet.variants[variant["VariantName"]] = self._variant(variant, folder / variant["VariantName"])
            for variant in config["ProductionVariants"]:
                fleet.variants[variant["VariantName"]].scale(variant["InitialInstanceCount"])
        except BaseException:
            fleet.stop()
            raise
        return fleet

    def _variant(self, variant: Record, folder: Path) -> VariantFleet:
        container, role = variant["_container"], variant["_role"]
        model = folder / "model"
        model.mkdir(parents=True)
        if container["ModelDataUrl"]:
            model_data.fetch(self.context.client("s3", role), container["ModelDataUrl"], model)
        try:
            program = images.resolve(container["Image"], self.context.settings("images"))
        except images.ImageNotFound as missing:
            raise Unhealthy(
                f"The image {missing} of production variant {variant['VariantName']} does not exist."
            ) from missing

        def environment() -> dict[str, str]:
            return {**program.environment(), **self.context.environment(role), **container["Environment"]}

        configured = self.context.settings().get("container_startup_seconds")
        seconds = float(configured or variant.get("ContainerStartupHealthCheckTimeoutInSeconds", _STARTUP_SECONDS))
        launch = Launch(program.command(["serve"]), program.folder, environment, seconds)

        def make(index: int) -> Instance:
            identity = f"i-{secrets.token_hex(8)}{index:x}"
            output = self._log_stream(f"{variant['VariantName']}/{identity}", role)
            return Instance(identity, folder / identity, model, launch, output)

        strategy = variant.get("RoutingConfig", {}).get("RoutingStrategy", "RANDOM")
        return VariantFleet(variant["VariantName"], make, seconds, strategy)

    def _log_stream(self, stream: str, role: str) -> LogStream:
        file = self.context.home / "logs" / "endpoints" / self.name / f"{stream.replace('/', '-')}.log"
        group = f"/aws/sagemaker/Endpoints/{self.name}"
        return LogStream(lambda: self.context.client("logs", role), group, stream, file)

    def _put_capture(self, bucket: str, key: str, body: bytes) -> None:
        """Write a capture file as SageMaker does: with the rights of the model's execution role."""
        role = self.record()["_config"]["ProductionVariants"][0]["_role"]
        s3 = self.context.client("s3", role)
        s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType="application/x-jsonlines")

    def record(self) -> Record:
        """The endpoint's record. Raises KeyError when it is gone."""
        record = self._endpoints.find(self.name)
        if record is None:
            raise KeyError(self.name)
        return record

    def change(self, status: str | None, **fields: Any) -> Record:
        """Set fields of the record (None removes one) and the status; a new status is announced as an event.

        Returns the record. Raises KeyError when it is gone.
        """
        previous = self.record()["EndpointStatus"]

        def apply(record: Record) -> None:
            record.update({name: value for name, value in fields.items() if value is not None})
            for name, value in fields.items():
                if value is None:
                    record.pop(name, None)
            record["EndpointStatus"] = status or record["EndpointStatus"]
            record["LastModifiedTime"] = time.time()

        record = self._endpoints.update(self.name, apply)
        if status is not None and status != previous:
            describe.announce(self.context, record)
        return record
