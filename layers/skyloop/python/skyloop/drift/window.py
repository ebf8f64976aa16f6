"""The window: the newest captured requests of an endpoint since its present config went into service."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from skyloop.aws.storage import ObjectSummary, Storage
from skyloop.formats.capture import CaptureRecord, CaptureUnreadable, Problem, parse_capture, parse_capture_key
from skyloop.formats.profile import Profile, ProfileUnusable, profile_of
from skyloop.layout import CAPTURES, SMOKE_TEST_INFERENCE_PREFIX

LOOK_BACK_DAYS = 14  # an endpoint that nobody asked for so long is not watched any further back
REMEMBERED_FILES = 2_000
ONE_DAY = timedelta(days=1)
ONE_HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class CapturedPrediction:
    """One answered request: `capture_key` and `position` say where it is kept, `training_job` which model answered."""

    profile: Profile
    time: datetime
    event_id: str
    inference_id: str | None
    capture_key: str
    position: int
    training_job: str | None

    @property
    def order(self) -> tuple[datetime, str, int]:
        """Sorts requests by time; captures give whole seconds, so within one file its lines decide."""
        return (self.time, self.capture_key, self.position)


@dataclass(frozen=True)
class Window:
    """`seen` in the order of time, at most the size asked for. `unusable` counts lines that gave no profile."""

    seen: tuple[CapturedPrediction, ...]
    unusable: int
    files: int


class CaptureReader:
    """Reads windows. One reader a process remembers what files held, so that each is fetched once."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self._files: OrderedDict[tuple[str, int, float], tuple[tuple[CapturedPrediction, ...], int]] = OrderedDict()

    def window(
        self, endpoint: str, *, size: int, since: datetime, now: datetime, training_job: str | None = None
    ) -> Window:
        """The newest `size` different profiles that `training_job` (any model, if None) answered from `since` to `now`.

        Requests of the smoke test are not traffic and do not count. Of requests with identical profiles only the newest
        counts: the same picture sent fifty times is one picture. Files, which are named by their time, are read from
        the newest backwards until the window is full.
        """
        newest: dict[Profile, CapturedPrediction] = {}
        unusable = files = 0
        for summary in self._newest_first(endpoint, since, now):
            seen, bad = self._read(summary)
            files, unusable = files + 1, unusable + bad
            for one in seen:
                if one.time < since or (training_job and one.training_job and one.training_job != training_job):
                    continue
                known = newest.get(one.profile)
                if known is None or known.order < one.order:
                    newest[one.profile] = one
            if len(newest) >= size:
                break
        ordered = sorted(newest.values(), key=lambda one: one.order)
        return Window(tuple(ordered[-size:]), unusable, files)

    def _newest_first(self, endpoint: str, since: datetime, now: datetime) -> Iterator[ObjectSummary]:
        earliest = max(since, now - LOOK_BACK_DAYS * ONE_DAY)
        variants = self._variants(endpoint)
        day = (now + ONE_HOUR).date()  # the endpoint's clock may be ahead of ours
        while day >= earliest.date():
            found = [
                summary
                for variant in variants
                for summary in self.storage.listing(f"{CAPTURES}{endpoint}/{variant}/{day:%Y/%m/%d}/")
                if self._in_time(summary.key, earliest)
            ]
            yield from sorted(found, key=lambda summary: summary.key.split("/", 4)[-1], reverse=True)
            day -= ONE_DAY

    def _in_time(self, key: str, earliest: datetime) -> bool:
        try:
            return parse_capture_key(key).hour + ONE_HOUR > earliest
        except CaptureUnreadable:
            return False

    def _variants(self, endpoint: str) -> list[str]:
        prefix = f"{CAPTURES}{endpoint}/"
        return [folder[len(prefix) : -1] for folder in self.storage.folders(prefix)]

    def _read(self, summary: ObjectSummary) -> tuple[tuple[CapturedPrediction, ...], int]:
        identity = (summary.key, summary.size, summary.modified)
        if identity not in self._files:
            self._files[identity] = _profiles(self.storage, summary.key)
            if len(self._files) > REMEMBERED_FILES:
                self._files.popitem(last=False)
        return self._files[identity]


def captured(storage: Storage, key: str) -> Iterator[CaptureRecord | Problem]:
    """The lines of a capture file, one in memory at a time: each holds a whole image. Raises ObjectMissing."""
    yield from parse_capture(storage.lines(key))


def _profiles(storage: Storage, key: str) -> tuple[tuple[CapturedPrediction, ...], int]:
    seen: list[CapturedPrediction] = []
    unusable = 0
    for position, record in enumerate(captured(storage, key)):
        if isinstance(record, Problem):
            unusable += 1
            continue
        if (record.inference_id or "").startswith(SMOKE_TEST_INFERENCE_PREFIX):
            continue
        try:
            answer = record.output.json() if record.output else None
            profile = profile_of(answer)
        except (CaptureUnreadable, ProfileUnusable):
            unusable += 1  # an answer of 4xx has no profile, nor has a request that was captured without its answer
            continue
        model = answer.get("model")
        training_job = model.get("training_job") if isinstance(model, dict) else None
        where = {"capture_key": key, "position": position, "training_job": training_job}
        seen.append(CapturedPrediction(profile, record.inference_time, record.event_id, record.inference_id, **where))
    return tuple(seen), unusable
