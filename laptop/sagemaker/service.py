"""The local SageMaker: `handle_request` for HTTP (JSON 1.1), `call` for the cloud's own integrations."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import functools
import json
import logging
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from laptop import storing
from laptop.database import NotStored
from laptop.documents import Document
from laptop.sagemaker.autoscaling.api import Autoscaling
from laptop.sagemaker.autoscaling.target_tracking import Scaling
from laptop.sagemaker.core import errors, validation
from laptop.sagemaker.core.context import Context, PutEvent, RoleCredentials
from laptop.sagemaker.core.room import InProgress, Room
from laptop.sagemaker.core.tags import Tags
from laptop.sagemaker.endpoints.api import Endpoints
from laptop.sagemaker.endpoints.configs import Configs
from laptop.sagemaker.endpoints.kinds import Kinds
from laptop.sagemaker.endpoints.models import Models
from laptop.sagemaker.endpoints.runtime import Runtime
from laptop.sagemaker.jobs.processing import Processing
from laptop.sagemaker.jobs.runner import Runner
from laptop.sagemaker.jobs.training import Training
from laptop.sagemaker.labeling.api import Labeling
from laptop.sagemaker.registry.api import Registry

log = logging.getLogger(__name__)

Operation = Callable[[Document], Document]

_ROOMS: tuple[type[Room], ...] = (
    Tags, Labeling, Training, Processing, Registry, Models, Configs, Endpoints, Autoscaling,
)  # fmt: skip
_TARGETS = {"SageMaker": "sagemaker", "AnyScaleFrontendService": "application-autoscaling"}
_RUNTIME_PATH = re.compile(r"^/endpoints/[^/]+/(invocations|async-invocations|invocations-response-stream)$")


@functools.cache
def operations() -> dict[str, frozenset[str]]:
    """The names of all operations, by service."""
    services = {room.SERVICE for room in _ROOMS}
    return {
        service: frozenset(name for room in _ROOMS if service == room.SERVICE for name in room.OPERATIONS)
        for service in services
    }


class SageMaker:
    """The service of one cloud: what it knows, what it runs, and the threads it works in."""

    def __init__(
        self, home: Path, endpoint_url: str, *, role_credentials: RoleCredentials, put_event: PutEvent
    ) -> None:
        """Open the records in a cloud's home; the arguments are those of `Context`.

        Raises laptop.database.NotStored where the home cannot be written to.
        """
        self.context = context = Context(home, endpoint_url, role_credentials=role_credentials, put_event=put_event)
        # Operations block on disk, S3 and processes, and some call back into this same server: never on its event loop,
        # and not in asyncio's small default pool, which the server's other services share.
        self.resumed: list[InProgress] = []
        """What went on at the start."""
        self._pool = concurrent.futures.ThreadPoolExecutor(max_workers=16, thread_name_prefix="sagemaker")
        kinds = Kinds(context)
        self._runner = Runner(context)
        registry = Registry(context)
        models = Models(context, kinds, registry)
        runtime = Runtime(context, kinds.endpoints, lambda name: autoscaling.forget(name))
        self._invocations = runtime.invocations
        endpoints = Endpoints(context, kinds, models, runtime)
        autoscaling = Autoscaling(context, kinds.endpoints, Scaling(context, kinds.endpoints, endpoints))
        self._rooms: tuple[Room, ...] = (
            Tags(context),
            Labeling(context),
            Training(context, self._runner),
            Processing(context, self._runner),
            registry,
            models,
            Configs(context, kinds),
            endpoints,
            autoscaling,
        )
        self._operations: dict[tuple[str, str], Operation] = {
            (room.SERVICE, name): functools.partial(function, room)
            for room in self._rooms
            for name, function in room.OPERATIONS.items()
        }

    @property
    def found(self) -> list[str]:
        """What of the records could not be read, in sentences."""
        return self.context.store.found

    def start(self) -> None:
        """Take up what a stopped or killed cloud left; call once the cloud answers at its URL.

        Jobs that lost their process run again, and endpoints are brought back.
        """
        # No job runs yet: what lies in their folders is what a killed cloud left, and may be gigabytes.
        shutil.rmtree(self.context.home / "jobs", ignore_errors=True)
        for room in self._rooms:
            room.start()
        self.resumed = self.in_progress()

    def stop(self) -> None:
        """End every process, then close the records; call before the cloud stops answering.

        What fails to stop does not keep the rest from stopping.
        """
        self.context.store.stop_waiting()
        parts: tuple[Room | Runner, ...] = (*reversed(self._rooms), self._runner)
        for part in parts:
            try:
                part.stop()
            except Exception:
                log.exception("%s could not stop", type(part).__name__)
        self._pool.shutdown(wait=False, cancel_futures=True)
        self.context.store.close()

    def in_progress(self) -> list[InProgress]:
        """What a stop would interrupt now, and what becomes of it at the next start."""
        return [item for room in self._rooms for item in room.in_progress()]

    def call(self, operation: str, request: Document, service: str = "sagemaker") -> Document:
        """Run one operation in the caller's thread (it may block).

        Times in the response are epoch seconds. Raises errors.ServiceError, ServiceUnavailable for what cannot be
        stored.
        """
        normal = validation.validate(service, operation, request)
        function = self._operations.get((service, operation))
        if function is None:
            raise errors.unsupported_operation(operation)
        try:
            answer = function(normal)
        except NotStored as error:
            log.error("%s was refused, since nothing can be written down: %s", operation, error)
            raise errors.unavailable(storing.refusal(self.context.home)) from error
        response: Document = validation.project(validation.operation_model(service, operation).output_shape, answer)
        return response

    async def handle_request(
        self, method: str, path: str, headers: dict[str, str], body: bytes, query: Document
    ) -> tuple[int, dict[str, str], bytes]:
        """Answer one HTTP request; the signature is the one MiniStack gives a service."""
        if _RUNTIME_PATH.match(path):
            return await self._invocations.handle_request(method, path, headers, body, query)
        prefix, _, operation = headers.get("x-amz-target", "").partition(".")
        run = contextvars.copy_context().run  # with the request's account and region
        status, answer = await asyncio.get_running_loop().run_in_executor(
            self._pool, run, self._answer, _TARGETS.get(prefix), operation, body
        )
        reply = {"Content-Type": "application/x-amz-json-1.1"}
        if status != 200:
            reply["x-amzn-ErrorType"] = answer["__type"]
        return status, reply, json.dumps(answer, ensure_ascii=False).encode("utf-8")

    def _answer(self, service: str | None, operation: str, body: bytes) -> tuple[int, Document]:
        try:
            if service is None:
                raise errors.unknown_operation(operation)
            try:
                request = json.loads(body or b"{}")
            except ValueError as error:
                raise errors.serialization("The request body is not valid JSON.") from error
            return 200, self.call(operation, request, service)
        except errors.ServiceError as error:
            return error.status, error.body()
