"""What the cloud acknowledged is kept, however its process ends.

MiniStack saves its state at a clean stop only. Here it is written down as it changes (:mod:`laptop.journal`):

- a write to a table before it is done, and an execution's history event by event;
- what was set up (stacks, functions, roles, queues, rules, alarms, …) before the request that did it is answered. A
  stack that was being made or changed comes back as one whose operation failed, with the parts that it had;
- what is on its way (events to their targets, notifications, asynchronous invocations) before what caused it is
  answered, until it is done (:mod:`laptop.ministack_patches.deliveries`);
- metrics and lines of logs within ten seconds, also where nothing else happens meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any

from ministack import app
from ministack.core import persistence, responses
from ministack.services import dynamodb

from laptop import storing
from laptop.database import DatabaseBroken, NotStored, set_aside
from laptop.documents import Document
from laptop.journal import FILE, Journal, LoggedRequest
from laptop.ministack_patches import acknowledgements
from laptop.ministack_patches.deliveries import DELIVERIES, watch_request
from laptop.ministack_patches.lost_parts import was_used
from laptop.ministack_patches.patching import Original
from laptop.ministack_patches.states import (
    LOG_LINES,
    as_texts,
    digest,
    end_interrupted_operations,
    services_states,
    stacks_progress,
    tables_digest,
    with_lines,
)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

log = logging.getLogger(__name__)

_COMPACT = 5000  # requests that are logged before a snapshot of the tables takes their place
_SECONDS = 1.0  # between snapshots of what may be written a moment later
_TELEMETRY = {"cloudwatch:metrics", LOG_LINES}
_TELEMETRY_SECONDS = 10.0
_TOGETHER = 10  # tries to read all states while no stack changes
_TOGETHER_SECONDS = 0.02
_EMPTIED = (
    f"This home was in use, but state/{FILE} is empty or gone: the cloud begins without its stack, tables and queues. "
    "If you have a copy of that file, stop the cloud, put it back and start again."
)


class ServicesNotStored(NotStored):
    """What changed in some services cannot be made into text; the other services' changes are stored."""

    def __init__(self, reasons: Mapping[str, object]) -> None:
        super().__init__("; ".join(f"{name}: {reason}" for name, reason in reasons.items()))
        self.services = frozenset(reasons)


class Keeper:
    """Writes the emulator's state to a journal, and brings it back."""

    def __init__(self) -> None:
        self.found: list[str] = []
        """What the last start found to put right, in sentences."""
        self.restored: set[str] = set()
        """The names of the states that the last start brought back."""
        self.last_written: float | None = None
        """When the journal was last written to before the last start, in seconds since 1970."""
        self._journal: Journal | None = None
        self._written: dict[str, str] = {}  # digest of each snapshot
        self._changed = threading.Event()
        self._failing = False  # nothing could be written down at the last try
        self._stopping = threading.Event()
        self._writing = threading.Lock()
        self._tables_lock = threading.RLock()  # requests to tables are logged in the order in which they are done
        self._inside = threading.local()
        self._logged = 0
        self._since_snapshot = 0
        self._histories: dict[str, int] = {}  # events of each execution that are written down
        self._histories_lock = threading.Lock()
        self._replaying = False
        self._known_tables = ""  # digest of what the tables are, without their items
        self._telemetry_written = 0.0
        self._telemetry_waits = False  # a write left it out

    @property
    def journal(self) -> Journal:
        """Opened at the first use, in the folder that MiniStack keeps its state in."""
        if self._journal is None:
            self._journal = Journal(Path(persistence.STATE_DIR) / FILE)
        return self._journal

    def _set_aside(self, reason: DatabaseBroken) -> None:
        """Begin with an empty journal; the one that cannot be read stays for who wants to look into it."""
        if self._journal is not None:
            self._journal.close()
        broken = set_aside(Path(persistence.STATE_DIR) / FILE)
        self._journal = None
        self.found.append(f"{reason}. It was set aside as {broken.name}, and the cloud begins without what was in it.")

    # ── Requests ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def touch(self) -> None:
        """Something changed that may be written down a moment later."""
        self._changed.set()

    def guard(self, scope: Message, receive: Receive, send: Send) -> tuple[Receive, Send]:
        """What answers a request once what it changed is written down, and else that it is not stored.

        MiniStack changes its memory first, so a request that is refused then has taken effect. Where it is known before
        that nothing can be written down, receiving it raises NotTaken.
        """
        if not acknowledgements.writes(scope):
            return receive, send
        asked = acknowledgements.Asked(scope)
        refused = False
        unkept = watch_request()

        async def receiving() -> Message:
            message = await receive()
            if asked.hear(message) and asked.changes and not await self._can_store():
                raise acknowledgements.NotTaken
            return message

        async def sending(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start":
                self._changed.set()
                refused = (asked.waits and not await self._is_stored(asked) and asked.changes) or bool(unkept)
            if not refused:
                await send(message)
            elif message["type"] == "http.response.start":
                for part in acknowledgements.refused(scope):
                    await send(part)

        return receiving, sending

    async def _can_store(self) -> bool:
        """Whether a change can probably be stored; where the last one could not, what is left of it is tried again."""
        if storing.is_full(acknowledgements.home()):
            return False
        if self._failing:
            with contextlib.suppress(Exception):  # its reason was logged
                await asyncio.to_thread(self.write_snapshots)
        return not self._failing

    async def _is_stored(self, asked: acknowledgements.Asked) -> bool:
        try:
            await asyncio.to_thread(self.write_snapshots, telemetry=asked.is_of_streams)
        except ServicesNotStored as error:
            log.error("A change could not be written down: %s", error)
            return not error.services & acknowledgements.states_of(asked.scope)
        except Exception as error:  # whatever it was, the change is not stored
            log.error("A change could not be written down: %s", error)
            return False
        return True

    def write_snapshots(self, *, everything: bool = False, telemetry: bool = False) -> None:
        """Write down what changed; `telemetry` too where it is due or asked for.

        Raises ServicesNotStored where that is not possible for some services, and NotStored where nothing is stored.
        """
        with self._writing:
            self._changed.clear()
            try:
                self._write(everything, telemetry or everything or self._is_telemetry_due())
            except BaseException as error:
                self._changed.set()
                self._failing = not isinstance(error, ServicesNotStored)
                raise
            self._failing = False

    def _write(self, everything: bool, telemetry: bool) -> None:
        now = time.monotonic()
        self._telemetry_waits = self._telemetry_waits or not telemetry  # until it is written, whatever happens here
        delivered = DELIVERIES.done()
        for _ in range(_TOGETHER):  # a stack and its parts belong together
            # What changes in a table meanwhile is in the next snapshot.
            before, tables = stacks_progress(), tables_digest()
            # A stack changes tables without a request to them.
            states, failed, covered = self._read_now(telemetry, tables=everything or tables != self._known_tables)
            if stacks_progress() == before:
                break
            time.sleep(_TOGETHER_SECONDS)
        digests = {name: digest(text) for name, text in states.items()}
        new = {name: states[name] for name in digests if self._written.get(name) != digests[name]}
        forgotten = frozenset() if "sqs" in failed else delivered  # what came of them, and is in memory, is messages
        if new or forgotten or covered is not None:
            self.journal.put_snapshots(new, covered, forgotten)
        DELIVERIES.forget(forgotten)
        if covered is not None:
            self._since_snapshot = 0
            self._known_tables = tables
        self._written |= digests
        if telemetry:
            self._telemetry_written, self._telemetry_waits = now, False
        if failed:
            raise ServicesNotStored(failed)

    def _is_telemetry_due(self) -> bool:
        return time.monotonic() - self._telemetry_written >= _TELEMETRY_SECONDS

    def _read_now(self, telemetry: bool, *, tables: bool) -> tuple[dict[str, str], dict[str, object], int | None]:
        """The states as text, what is wrong with others, and the number of the last request that they cover."""
        wanted = {name: make for name, make in services_states().items() if name not in _TELEMETRY or telemetry}
        states, failed = as_texts(wanted)
        covered = None
        with self._tables_lock:
            if tables or self._since_snapshot >= _COMPACT:
                text, error = as_texts({"dynamodb": dynamodb.get_state})
                states |= text
                failed |= error
                covered = self._logged if text else None
        return states, failed, covered

    def start(self) -> None:
        """Begin to write down a moment later what changes by itself."""
        threading.Thread(target=self._write_later, name="journal", daemon=True).start()

    def _write_later(self) -> None:
        while not self._stopping.wait(_SECONDS):
            if self._changed.is_set() or (self._telemetry_waits and self._is_telemetry_due()):
                try:
                    self.write_snapshots()
                except OSError as error:
                    log.error("The state could not be written down: %s", error)
                except Exception:
                    log.exception("The state could not be written down")

    def stop(self) -> None:
        """Write down everything and close. Raises NotStored where nothing is stored; the journal is as it was then."""
        self._stopping.set()
        try:
            self.write_snapshots(everything=True)
        except ServicesNotStored as error:
            log.error("What changed last in some services could not be written down: %s", error)
        finally:
            self.journal.close()

    # ── Tables ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def change_table(self, operation: str, original: Original, request: Document) -> Any:
        """Log a write to a table, then do it. One that cannot be logged is not done."""
        if self._replaying or getattr(self._inside, "logged", False):  # part of a request that is logged
            return original(request)
        with self._tables_lock:
            context = {"account": responses.get_account_id(), "region": responses.get_region()}
            try:
                self._logged = self.journal.log(operation, {**context, "request": request})
            except Exception as error:  # whatever it was, the write is not stored
                log.error("A write to a table was refused: %s", error)
                text = storing.refusal(acknowledgements.home())
                return responses.error_response_json("InternalServerError", text, 500)
            self._since_snapshot += 1
            if self._since_snapshot >= _COMPACT:
                self._changed.set()
            self._inside.logged = True
            try:
                return original(request)
            finally:
                self._inside.logged = False

    def _replay(self, logged: LoggedRequest) -> bool:
        """Do a write again; one that cannot be done is set aside."""
        self._logged = logged.number
        try:
            responses.set_request_account_id(logged.request["account"])
            responses.set_request_region(logged.request["region"])
            getattr(dynamodb, logged.operation)(logged.request["request"])
        except Exception:  # it may have failed as well when it was asked for
            log.exception("The write %s (%s) could not be done again", logged.number, logged.operation)
            lost = f"The write to a table number {logged.number} ({logged.operation}) could not be done again"
            self.journal.put_aside("requests", "number", logged.number, json.dumps(logged.request), lost)
            return False
        self._since_snapshot += 1
        return True

    # ── Executions ───────────────────────────────────────────────────────────────────────────────────────────────────

    def keep_execution(self, record: Document, *, surely: bool = False) -> None:
        """Write down an execution's record and the events that are new in its history.

        Raises NotStored where that is not possible and it has to be `surely`; else they are with the next event.
        """
        arn = record.get("executionArn")
        if not arn or self._replaying:
            return
        with self._histories_lock:
            known = self._histories.get(arn, 0)
            events = list(record["events"])
            header = {name: value for name, value in record.items() if name != "events"}
            try:
                self.journal.put_execution(
                    arn, _plain(header), {n: _plain(events[n]) for n in range(known, len(events))}
                )
            except Exception as error:
                log.error("An execution's history could not be written down: %s", error)
                if surely:
                    raise NotStored(str(error)) from error
                return
            self._histories[arn] = len(events)

    # ── Start ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def load(self) -> None:
        """Bring back what was written down; a journal that cannot be read is set aside. Raises NotStored."""
        try:
            self._bring_back()
        except DatabaseBroken as reason:
            self._set_aside(reason)
            self._bring_back()

    def _bring_back(self) -> None:
        self.last_written = self.journal.last_written()
        if self.journal.was_empty and not self.found and was_used(acknowledgements.home()):
            self.found.append(_EMPTIED)
        snapshots = self.journal.snapshots()
        states = self._read(snapshots)
        self.restored = set(states)
        executions = self.journal.executions()
        requests = list(self.journal.requests())
        DELIVERIES.open(self.journal, self.touch)
        metrics = states.pop("cloudwatch:metrics", {})
        states["cloudwatch"] = {**states.get("cloudwatch", {}), **metrics}
        with_lines(states.get("cloudwatch_logs", {}), states.pop(LOG_LINES, {}))
        kept = {arn: len(record["events"]) for arn, record in executions.items()}
        self._replaying = True
        try:
            for name, module in app._state_map.items():
                state = states.get(name)
                if name == "stepfunctions" and (state or executions):
                    state = {**(state or {}), "executions": executions}
                if state:
                    self._load(name, module, state, snapshots.get(name))
            done = [self._replay(logged) for logged in requests]
        finally:
            self._replaying = False
        for arn, record in executions.items():
            self._histories[arn] = len(record["events"])
            if len(record["events"]) < kept[arn]:  # it begins again
                self.journal.keep_events(arn, len(record["events"]))
        self._written = {name: digest(text) for name, text in snapshots.items()}
        self.found += self.journal.found
        self.found += end_interrupted_operations()
        self._known_tables = tables_digest()
        if any(done):
            self.found.append(f"{sum(done)} writes to tables since the last snapshot were done again.")

    def _read(self, snapshots: Mapping[str, str]) -> dict[str, Document]:
        """Each service's state; one that cannot be read is set aside."""
        states = {}
        for name, text in snapshots.items():
            try:
                state = json.loads(text, object_hook=persistence._json_object_hook)
                states[name] = {} if state is None else {**state}
            except Exception:  # whatever the damage, it is this service's alone
                log.exception("The state of %s cannot be read", name)
                self._lose(name, text)
        return states

    def _load(self, name: str, module: str, state: Document, text: str | None) -> None:
        try:
            app._get_module(module).load_persisted_state(state)
        except Exception:
            log.exception("The state of %s could not be restored", name)
            self.restored.discard(name)
            if text is not None:
                self._lose(name, text)
            else:
                self.found.append(f"The state of {name} could not be restored; the log has the reason.")

    def _lose(self, name: str, text: str) -> None:
        self.journal.put_aside("snapshots", "service", name, text, f"The state of {name} cannot be read")


KEEPER = Keeper()


def _plain(document: Document) -> Document:
    plain: Document = json.loads(json.dumps(document, default=persistence._json_default))
    return plain
