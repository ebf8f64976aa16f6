"""The window: the newest captured requests of an endpoint since its present config went into service."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from skyloop.aws.storage import ObjectSummary, Storage
from skyloop.formats.capture import CaptureRecord, CaptureUnreadable, Problem, parse_capture, parse_capture_key
from skyloop.formats.profile import NoProfile, Profile, ProfileUnusable, profile_of
from skyloop.layout import CAPTURES, SMOKE_TEST_INFERENCE_PREFIX

LOOK_BACK_DAYS = 14  # captures older than this are not searched
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
class RefusedProfile:
    """One answered request whose profile is there and cannot be used; `reason` says why."""

    time: datetime
    training_job: str | None
    reason: str


@dataclass(frozen=True)
class Window:
    """`seen` in the order of time, at most the size asked for, all with the same statistics.

    `unusable` counts captured lines that gave no profile. `refused` holds a reason for each of those, in the window's
    time and of its model, that has a profile which cannot be used.
    """

    seen: tuple[CapturedPrediction, ...]
    unusable: int
    refused: tuple[str, ...]


@dataclass(frozen=True)
class _FileContent:
    """What one capture file holds. `unusable` counts the lines without a profile that can be used."""

    seen: tuple[CapturedPrediction, ...]
    refused: tuple[RefusedProfile, ...]
    unusable: int


class CaptureReader:
    """Reads windows. One reader per process remembers what files held, so that each is fetched once."""

    def __init__(self, storage: Storage) -> None:
        """Read captures from `storage`, and remember nothing yet."""
        self.storage = storage
        self._files: OrderedDict[tuple[str, int, float], _FileContent] = OrderedDict()

    def window(
        self, endpoint: str, *, size: int, since: datetime, now: datetime, training_job: str | None = None
    ) -> Window:
        """The newest `size` different profiles that `training_job` (any model, if None) answered from `since` to `now`.

        Requests of the smoke test are not traffic and do not count. Of requests with identical profiles only the newest
        counts: the same picture sent fifty times is one picture. Files, which are named by their time, are read from
        the newest backwards until the window is full.
        """

        def counts(answer: CapturedPrediction | RefusedProfile) -> bool:
            return answer.time >= since and (
                not training_job or not answer.training_job or answer.training_job == training_job
            )

        newest: dict[Profile, CapturedPrediction] = {}
        refused: list[str] = []
        unusable = 0
        for summary in self._newest_first(endpoint, since, now):
            content = self._read(summary)
            unusable += content.unusable
            refused += [answer.reason for answer in content.refused if counts(answer)]
            for prediction in filter(counts, content.seen):
                known = newest.get(prediction.profile)
                if known is None or known.order < prediction.order:
                    newest[prediction.profile] = prediction
            if len(newest) >= size:
                break
        seen, odd = _alike(sorted(newest.values(), key=lambda prediction: prediction.order))
        return Window(seen[-size:], unusable + len(odd), (*refused, *odd))

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

    def _read(self, summary: ObjectSummary) -> _FileContent:
        identity = (summary.key, summary.size, summary.modified)
        if identity not in self._files:
            self._files[identity] = _content(self.storage, summary.key)
            if len(self._files) > REMEMBERED_FILES:
                self._files.popitem(last=False)
        return self._files[identity]


def captured(storage: Storage, key: str) -> Iterator[CaptureRecord | Problem]:
    """The lines of a capture file, one in memory at a time: each holds a whole image. Raises ObjectMissing."""
    yield from parse_capture(storage.lines(key))


def _alike(ordered: list[CapturedPrediction]) -> tuple[tuple[CapturedPrediction, ...], list[str]]:
    """The predictions with the statistics that most of them have, and what is wrong with each of the others.

    The answers of one model all have the same statistics. Without this rule, one answer with half a profile would take
    the other half away from the whole window.
    """
    usual = Counter(prediction.profile.names for prediction in reversed(ordered)).most_common(1)
    if not usual:
        return (), []
    names = usual[0][0]
    seen = tuple(prediction for prediction in ordered if prediction.profile.names == names)
    reason = f"the profile does not have the same statistics as most others: {', '.join(names)}"
    return seen, [reason] * (len(ordered) - len(seen))


def _content(storage: Storage, key: str) -> _FileContent:
    seen: list[CapturedPrediction] = []
    refused: list[RefusedProfile] = []
    unusable = 0
    for position, record in enumerate(captured(storage, key)):
        if isinstance(record, Problem):
            unusable += 1
            continue
        if (record.inference_id or "").startswith(SMOKE_TEST_INFERENCE_PREFIX):
            continue
        try:
            answer = record.output.json() if record.output else None
        except CaptureUnreadable:
            unusable += 1
            continue
        try:
            profile = profile_of(answer)
        except NoProfile:
            unusable += 1  # an answer of 4xx, or a request that was captured without its answer
        except ProfileUnusable as error:
            unusable += 1
            refused.append(RefusedProfile(record.inference_time, _training_job(answer), str(error)))
        else:
            seen.append(
                CapturedPrediction(
                    profile=profile,
                    time=record.inference_time,
                    event_id=record.event_id,
                    inference_id=record.inference_id,
                    capture_key=key,
                    position=position,
                    training_job=_training_job(answer),
                )
            )
    return _FileContent(tuple(seen), tuple(refused), unusable)


def _training_job(answer: object) -> str | None:
    """The training job of the model that gave the answer, where it says so."""
    model = answer.get("model") if isinstance(answer, dict) else None
    training_job = model.get("training_job") if isinstance(model, dict) else None
    return training_job if isinstance(training_job, str) else None
