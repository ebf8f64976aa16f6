"""The endpoints that run: made, changed and deleted in the background, brought back when the cloud starts."""

from __future__ import annotations

import contextlib
import logging
import shutil
import threading
import time
from collections.abc import Callable
from functools import partial

from laptop.sagemaker.core.context import Context
from laptop.sagemaker.core.resources import Kind
from laptop.sagemaker.core.store import Record
from laptop.sagemaker.endpoints import describe, metrics
from laptop.sagemaker.endpoints.invocations import Invocations
from laptop.sagemaker.endpoints.live import LiveEndpoint

log = logging.getLogger(__name__)

_FLUSH_LOOP_SECONDS = 0.25
_RESTORE_SECONDS = 15.0


class Runtime:
    """The processes of all endpoints of one cloud, and what they report.

    `on_deleted` is called with the name of each endpoint that is deleted, before its record goes.
    """

    def __init__(self, context: Context, endpoints: Kind, on_deleted: Callable[[str], None]) -> None:
        self._context = context
        self._endpoints = endpoints
        self._on_deleted = on_deleted
        self._metrics = metrics.Metrics(self._publish)
        self.invocations = Invocations(context, endpoints, self._metrics)
        self._live: dict[str, LiveEndpoint] = {}
        self._stopping = threading.Event()
        self._flusher = threading.Thread(target=self._flush_regularly, name="endpoints", daemon=True)

    def create(self, record: Record) -> None:
        """Bring a new endpoint into service, in the background."""
        endpoint = self._new(record["EndpointName"])
        describe.announce(self._context, record)
        endpoint.run(endpoint.create)

    def update(self, record: Record) -> None:
        """Carry out the update that an endpoint's record has, in the background."""
        endpoint = self._live[record["EndpointName"]]
        describe.announce(self._context, record)
        endpoint.run(endpoint.update)

    def delete(self, record: Record) -> None:
        """End an endpoint's processes and forget its record, in the background."""
        endpoint = self._live.get(record["EndpointName"]) or self._new(record["EndpointName"])
        describe.announce(self._context, record)
        endpoint.run(partial(self._delete, endpoint))

    def start(self) -> None:
        """Bring every endpoint back after a stop or a crash of the cloud, and wait for them for some seconds.

        What was in progress goes on: endpoints are created, updated, rolled back and deleted as they would have been.
        """
        shutil.rmtree(self._context.home / "endpoints", ignore_errors=True)
        self._flusher.start()
        coming = []
        for record in self._endpoints.all():
            endpoint = self._new(record["EndpointName"])
            match record["EndpointStatus"]:
                case "Deleting":
                    endpoint.run(partial(self._delete, endpoint))
                case "Failed" if "ProductionVariants" not in record:  # it never was in service
                    continue
                case "Creating":
                    endpoint.run(endpoint.create)
                case _:
                    endpoint.run(endpoint.restore)
            coming.append(endpoint.brought_back)
        deadline = time.monotonic() + _RESTORE_SECONDS
        for back in coming:
            back.wait(max(0.0, deadline - time.monotonic()))

    def stop(self) -> None:
        """End every process; records stay as they are."""
        threads = [threading.Thread(target=endpoint.close) for endpoint in self._live.values()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self._stopping.set()
        if self._flusher.is_alive():
            self._flusher.join(timeout=5.0)
        self.invocations.stop()

    def _new(self, name: str) -> LiveEndpoint:
        endpoint = self._live[name] = LiveEndpoint(self._context, self._endpoints, self.invocations, name)
        return endpoint

    def _delete(self, endpoint: LiveEndpoint) -> None:
        endpoint.close()
        self._on_deleted(endpoint.name)
        self._live.pop(endpoint.name, None)
        with contextlib.suppress(KeyError):
            self._endpoints.remove(endpoint.name)

    def _publish(self, namespace: str, data: list[metrics.Datum]) -> None:
        self._context.client("cloudwatch").put_metric_data(Namespace=namespace, MetricData=data)

    def _flush_regularly(self) -> None:
        """Write what captures and metrics have collected, until the cloud stops, and then once more."""
        published = time.monotonic()
        while True:
            stopping = self._stopping.wait(_FLUSH_LOOP_SECONDS)
            for endpoint in list(self._live.values()):
                endpoint.capture.flush()
            if stopping or time.monotonic() - published >= metrics.FLUSH_SECONDS:
                published = time.monotonic()
                try:
                    self._metrics.flush()
                except Exception:
                    log.exception("the metrics of the endpoints could not be published")
            if stopping:
                return
