"""What the endpoint takes on at once, so that no mix of requests exhausts its memory or lets callers wait in vain.

Two budgets, both shared by all requests: the bytes of bodies that are held, and those that decoding takes. A request
that finds neither room nor a short queue is refused at once (:class:`Overloaded`): it may come again later.
"""

import asyncio
import os
import statistics
import time
from collections import deque
from collections.abc import AsyncIterable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

USUAL_OVER = 16  # pictures, over which the mean of their times moves
HANGS_AFTER = 2  # times what is slow: all threads have been in the model for so long
SURE_SECONDS = 1.0
PAUSE_SECONDS = 1.0  # a machine that starts other processes pauses for no longer
TOLD_SECONDS = 5.0  # between two lines about the pace: an alarm looks at a minute
MOST_SECONDS = 30.0  # that the largest picture may take: SageMaker waits twice as long, and the model is not all of it
CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


class Overloaded(Exception):
    """There is no room for this request now. The text tells the caller why; the same request may succeed later."""


class TooSlow(Exception):
    """The body did not arrive in time."""


class TooLarge(Exception):
    """The body has more bytes than a request may have."""


def memory_limit() -> int:
    """Bytes that this process may use: its container's limit (cgroup v2 or v1), else the machine's memory."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for file in CGROUP_LIMITS:
        try:
            return min(int(file.read_text()), physical)
        except (OSError, ValueError):  # no such cgroup, or "max"
            continue
    return physical


@dataclass(eq=False)
class _Receiving:
    """A body on its way."""

    size: int
    last: float  # when its latest bytes came, by the event loop's clock
    timeout: asyncio.Timeout
    gone: bool = False  # it gave way to others


class Bodies:
    """The bodies of all requests, within one budget of bytes.

    A sender that stalls must not keep others out: where the budget is used up, the body that has waited longest for
    its next bytes gives way.
    """

    def __init__(self, budget: int, seconds: float, stalled: float = 1.0) -> None:
        """Start without bodies.

        Args:
            budget: bytes that all bodies may hold together, those of waiting requests included.
            seconds: in which a body must have arrived.
            stalled: seconds without bytes after which a body gives way to others.
        """
        self._free = budget
        self._seconds = seconds
        self._stalled = stalled
        self._receiving: set[_Receiving] = set()

    async def receive(self, stream: AsyncIterable[bytes], limit: int) -> bytes:
        """Read a whole body. It counts against the budget until `release(len(body))`.

        Raises:
            Overloaded: all bodies together are too large, and none of them has stalled.
            TooSlow: it did not arrive in time, or stalled while others needed the room.
            TooLarge: it has more than `limit` bytes.
        """
        loop = asyncio.get_running_loop()
        parts: list[bytes] = []
        try:
            async with asyncio.timeout(self._seconds) as timeout:
                body = _Receiving(0, loop.time(), timeout)
                self._receiving.add(body)
                try:
                    async for part in stream:
                        if body.gone:
                            break
                        if body.size + len(part) > limit:
                            raise TooLarge(f"The body is larger than {limit // 2**20} MB.")
                        body.last = loop.time()
                        self._make_room(len(part), body.last)
                        self._free -= len(part)
                        body.size += len(part)
                        parts.append(part)
                    if body.gone:  # its last bytes may have come before its timeout was noticed
                        raise TimeoutError
                    whole = b"".join(parts)
                except BaseException:
                    self._free += body.size
                    raise
                finally:
                    self._receiving.discard(body)
        except TimeoutError as error:
            raise TooSlow("The body did not arrive in time.") from error
        return whole

    def release(self, size: int) -> None:
        """Give back what a received body held."""
        self._free += size

    def _make_room(self, size: int, now: float) -> None:
        while size > self._free:
            slowest = min(self._receiving, key=lambda body: body.last)
            if now - slowest.last < self._stalled:
                raise Overloaded("The endpoint holds as many bytes as it can; try again later.")
            self._receiving.discard(slowest)
            self._free += slowest.size
            slowest.size, slowest.gone = 0, True
            slowest.timeout.reschedule(now)


class Workers:
    """Threads that read headers, or decode and detect, with a short queue before them, in the order of requests.

    A picture takes one thread and as much of a budget as decoding it takes; the largest waits until it has the budget
    for itself, and those behind it wait with it, so that it is not overtaken for ever.
    """

    def __init__(self, threads: int, memory: int, queue: int, seconds: float, soon: float = 0.0) -> None:
        """Start idle.

        Args:
            threads: pictures that are worked on at once.
            memory: bytes that decoding may take at once, over all threads. A picture that takes more runs alone.
            queue: requests that may always wait.
            seconds: that a request may wait.
            soon: seconds; more requests than `queue` may wait where their turn would come within these, as pictures
                usually take.
        """
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="picture")
        self._threads = self._free_threads = threads
        self._memory = self._free_memory = memory
        self._queue = queue
        self._seconds = seconds
        self._soon = soon
        self._usual = 0.0  # seconds that a picture takes: a moving mean
        self._waiting: deque[tuple[asyncio.Future[None], int]] = deque()
        self._since: dict[object, float] = {}  # when each picture that is worked on began, by the loop's clock

    @property
    def full(self) -> bool:
        """Whether one more request would be refused: the queue is long, and its turn would come late.

        What one picture takes longer than usual says nothing about those that wait: the machine may have paused.
        """
        waiting, longest = len(self._waiting), self.longest()
        each = max(self._usual, longest if longest >= PAUSE_SECONDS else 0.0)
        return waiting >= self._queue and waiting * each / self._threads >= self._soon

    def longest(self) -> float:
        """Seconds for which the oldest picture has been worked on; 0 when idle."""
        now = asyncio.get_running_loop().time()
        return max((now - began for began in self._since.values()), default=0.0)

    async def run(self, memory: int, work: Callable[[], T]) -> T:
        """Work on a picture in a thread as soon as there is room.

        Args:
            memory: bytes that decoding the picture takes.
            work: what the thread does; what it raises is raised here.

        Raises:
            Overloaded: the queue is full, or the request waited too long.
        """
        memory = min(memory, self._memory)
        if self._waiting or not self._fits(memory):
            await self._turn(memory)
        else:
            self._take(memory)
        loop = asyncio.get_running_loop()
        mark = object()
        self._since[mark] = loop.time()

        def end(done: asyncio.Future[T]) -> None:
            self._usual += (loop.time() - self._since.pop(mark) - self._usual) / USUAL_OVER
            self._give_back(memory)
            if not done.cancelled():
                done.exception()  # looked at here for a caller that left meanwhile

        done = loop.run_in_executor(self._pool, work)
        done.add_done_callback(end)
        return await asyncio.shield(done)  # a thread cannot be stopped: its room is free when it ends, not before

    async def _turn(self, memory: int) -> None:
        if self.full:
            raise Overloaded("The endpoint has as many requests as it can answer; try again later.")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((turn, memory))
        try:
            async with asyncio.timeout(self._seconds):
                await turn
        except BaseException as error:
            if turn.cancelled():
                self._waiting.remove((turn, memory))
                self._admit()  # those behind it may be smaller
            else:  # its turn came in the very moment in which the wait ended
                self._give_back(memory)
            if isinstance(error, TimeoutError):
                raise Overloaded("The endpoint is busy with other requests; try again later.") from error
            raise

    def _fits(self, memory: int) -> bool:
        return self._free_threads > 0 and memory <= self._free_memory

    def _take(self, memory: int) -> None:
        self._free_threads -= 1
        self._free_memory -= memory

    def _give_back(self, memory: int) -> None:
        self._free_threads += 1
        self._free_memory += memory
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self._fits(self._waiting[0][1]):
            turn, memory = self._waiting[0]
            if turn.cancelled():
                break  # it is about to leave the queue, and admits the next then
            self._waiting.popleft()
            self._take(memory)
            turn.set_result(None)


class Pace:
    """Is it the model that is slow, when there is no room for a request, or are there only too many?

    A large picture is looked at in slices, so times are judged by the look, and what decoding takes is not counted: how
    large pictures are is the callers' choice, and none of them shall make a model look slow.
    """

    def __init__(
        self,
        threads: int,
        slow_seconds: float,
        tell: Callable[[float], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Know nothing yet.

        Args:
            threads: that work on pictures.
            slow_seconds: for one look, from which on a model is slow.
            tell: is told, every few seconds while pictures come, how many a look took, the median of those pictures.
            clock: seconds.
        """
        self._threads = threads
        self._slow_seconds = slow_seconds
        self._tell = tell
        self._clock = clock
        self._untold: list[float] = []  # seconds a look, of each picture
        self._told = -TOLD_SECONDS + clock()
        self._latest: deque[float] = deque(maxlen=USUAL_OVER)  # what pictures took of the time that they may
        self._began: dict[object, tuple[float, float]] = {}  # when each picture came to the model, and what it may take
        self._suspected = (0.0, 0.0)  # the begin of the latest of them, and when it was seen that they take long

    @contextmanager
    def picture(self, most: float) -> Iterator[Callable[[float], None]]:
        """Around the model's work on one picture, in any thread.

        Args:
            most: looks that it may take, as `slicing.cost` gives them.

        Yields:
            To be told the looks that it took.
        """
        mark, took = object(), [most]
        self._began[mark] = (self._clock(), self._allowed(most))
        try:
            yield took.append
        finally:
            began, _ = self._began.pop(mark)
            now = self._clock()
            self._latest.append((now - began) / self._allowed(took[-1]))
            self._untold.append((now - began) / max(took[-1], 1.0))
            self._say(now)

    def _say(self, now: float) -> None:
        if now - self._told < TOLD_SECONDS:
            return
        self._told = now
        untold, self._untold = self._untold, []
        if untold:  # another thread may have told them
            self._tell(statistics.median(untold))

    def _allowed(self, looks: float) -> float:
        return min(max(looks, 1.0) * self._slow_seconds, MOST_SECONDS)

    @property
    def slow(self) -> bool:
        """Whether the model usually is, by the median of its latest 16 pictures, or does not come to an end at all.

        One picture says nothing, which may be the first of a new instance: it takes two, and one for each thread.
        """
        usual = statistics.median(self._latest) if len(self._latest) >= max(2, self._threads) else 0.0
        return usual >= 1.0 or self._hangs()

    def _hangs(self) -> bool:
        """Whether all threads have been in the model for long, and are a moment after that was seen first.

        A process that was stopped for a while finds them so as well, and they end at once.
        """
        now, began = self._clock(), [*self._began.values()]
        if len(began) < self._threads or any(now - start < HANGS_AFTER * allowed for start, allowed in began):
            return False
        latest = max(start for start, _ in began)
        if self._suspected[0] != latest:
            self._suspected = (latest, now)
        return now - self._suspected[1] >= SURE_SECONDS
