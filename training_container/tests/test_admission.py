"""The budgets that keep the endpoint alive: bodies that stall, pictures that are large, and more requests than room."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

import pytest
from skyloop_container.admission import Bodies, Overloaded, Pace, TooLarge, TooSlow, Workers


async def parts(*values: bytes, then: Callable[[], Awaitable[Any]] | None = None) -> AsyncIterator[bytes]:
    for value in values:
        yield value
    if then:
        await then()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


def run(scene: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scene)


class Work:
    """Work in a thread that ends when it is told to."""

    def __init__(self) -> None:
        self.began, self.go, self.ended = threading.Event(), threading.Event(), threading.Event()

    def __call__(self) -> str:
        self.began.set()
        assert self.go.wait(10)
        self.ended.set()
        return "done"


def test_a_body_is_received_whole() -> None:
    async def scene() -> None:
        assert await Bodies(10, 5).receive(parts(b"ab", b"c"), 3) == b"abc"

    run(scene())


def test_a_body_over_the_limit_is_refused_and_holds_nothing() -> None:
    async def scene() -> None:
        bodies = Bodies(4, 5)
        with pytest.raises(TooLarge):
            await bodies.receive(parts(b"ab", b"cd"), 3)
        assert await bodies.receive(parts(b"abcd"), 4) == b"abcd"

    run(scene())


def test_a_sender_that_takes_too_long_is_refused_and_holds_nothing() -> None:
    async def scene() -> None:
        bodies = Bodies(4, 0.01)
        with pytest.raises(TooSlow):
            await bodies.receive(parts(b"ab", then=asyncio.Event().wait), 4)
        assert await bodies.receive(parts(b"abcd"), 4) == b"abcd"

    run(scene())


def test_a_stalled_body_gives_way_to_one_that_arrives() -> None:
    async def scene() -> None:
        bodies = Bodies(4, 60, stalled=0)
        stalled = asyncio.create_task(bodies.receive(parts(b"abc", then=asyncio.Event().wait), 4))
        await asyncio.sleep(0)
        assert await bodies.receive(parts(b"abcd"), 4) == b"abcd"
        with pytest.raises(TooSlow):
            await stalled
        bodies.release(4)
        assert await bodies.receive(parts(b"abcd"), 4) == b"abcd"

    run(scene())


def test_a_body_that_gave_way_gives_nothing_back_when_it_is_complete() -> None:
    """Its last bytes may come before its timeout is noticed."""

    async def scene() -> None:
        bodies, come = Bodies(4, 60, stalled=1e-9), asyncio.Event()
        stalled = asyncio.create_task(bodies.receive(parts(b"abc", then=come.wait), 4))
        await asyncio.sleep(0)
        come.set()
        assert await bodies.receive(parts(b"abcd"), 4) == b"abcd"
        with pytest.raises(TooSlow):
            await stalled
        with pytest.raises(Overloaded):
            await bodies.receive(parts(b"a"), 4)
        bodies.release(4)
        assert await bodies.receive(parts(b"abcd"), 4) == b"abcd"

    run(scene())


def test_a_body_without_room_is_refused_while_the_others_move() -> None:
    async def scene() -> None:
        bodies = Bodies(4, 60, stalled=60)
        held = await bodies.receive(parts(b"abc"), 4)
        with pytest.raises(Overloaded):
            await bodies.receive(parts(b"ab"), 4)
        bodies.release(len(held))
        assert await bodies.receive(parts(b"abcd"), 4) == b"abcd"

    run(scene())


def test_a_sender_that_leaves_holds_nothing() -> None:
    async def gone() -> None:
        raise ConnectionError

    async def scene() -> None:
        bodies = Bodies(4, 60)
        with pytest.raises(ConnectionError):
            await bodies.receive(parts(b"abc", then=gone), 4)
        assert await bodies.receive(parts(b"abcd"), 4) == b"abcd"

    run(scene())


def test_requests_beyond_the_queue_are_refused_at_once() -> None:
    async def scene() -> None:
        workers, first, second = Workers(1, 100, 1, 60), Work(), Work()
        working = asyncio.create_task(workers.run(1, first))
        await until(first.began.is_set)
        waiting = asyncio.create_task(workers.run(1, second))
        await until(lambda: workers.full)
        with pytest.raises(Overloaded):
            await workers.run(1, Work())
        first.go.set()
        second.go.set()
        assert [await working, await waiting] == ["done", "done"]
        assert workers.longest() == 0

    run(scene())


def test_more_requests_may_wait_where_their_turn_comes_soon() -> None:
    async def scene() -> None:
        for soon, refused in ((60.0, 0), (0.0, 4)):
            workers, works = Workers(1, 100, 1, 60, soon), [Work() for _ in range(6)]
            asked = [asyncio.create_task(workers.run(1, work)) for work in works]
            await until(works[0].began.is_set)
            for work in works:
                work.go.set()
            answers = await asyncio.gather(*asked, return_exceptions=True)
            assert sum(isinstance(answer, Overloaded) for answer in answers) == refused

    run(scene())


@pytest.mark.parametrize(("paused", "full"), [(0.3, False), (3.0, True)])
def test_a_pause_of_the_machine_refuses_nothing(paused: float, full: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred wait behind a picture that takes long, as others usually do not; until it takes all the time itself."""

    async def scene() -> None:
        workers, first = Workers(1, 100, 1, 60, soon=3.0), Work()
        asked = [asyncio.create_task(workers.run(1, work)) for work in (first, *[lambda: "done"] * 100)]
        await until(first.began.is_set)
        monkeypatch.setattr(workers, "longest", lambda: paused)
        assert workers.full is full
        first.go.set()
        assert await asyncio.gather(*asked) == ["done"] * 101

    run(scene())


def test_a_turn_that_comes_as_the_wait_ends_is_given_back() -> None:
    """In one pass of the loop the thread's end grants the turn, and then the wait's timer cancels the task."""

    async def scene() -> None:
        seconds = 1.0
        workers, first = Workers(1, 100, 1, seconds), Work()
        working = asyncio.create_task(workers.run(1, first))
        await until(first.began.is_set)
        waiting = asyncio.create_task(workers.run(1, Work()))
        await until(lambda: workers.full)
        first.go.set()
        assert first.ended.wait(10)
        time.sleep(0.2)  # the loop stands still: the thread's end is the next that it hears of
        await asyncio.sleep(0)  # it has heard of it, and calls what waits for it in its next pass
        assert not waiting.done()
        time.sleep(seconds)  # when the timer is due too
        with pytest.raises(Overloaded):
            await waiting
        assert await working == "done"
        last = Work()
        last.go.set()
        async with asyncio.timeout(10):
            assert await workers.run(100, last) == "done"

    run(scene())


def test_a_large_picture_waits_for_its_memory_and_is_not_overtaken() -> None:
    async def scene() -> None:
        workers, small, large, late = Workers(2, 100, 2, 60), Work(), Work(), Work()
        for work in (small, large, late):
            work.go.set()
        small.go.clear()
        order = [asyncio.create_task(workers.run(10, small))]
        await until(small.began.is_set)
        order += [asyncio.create_task(workers.run(1000, large)), asyncio.create_task(workers.run(10, late))]
        await until(lambda: workers.full)
        assert not large.began.is_set()
        assert not late.began.is_set()
        small.go.set()
        assert await asyncio.gather(*order) == ["done"] * 3

    run(scene())


def test_a_request_that_waited_too_long_is_refused_and_the_next_is_answered() -> None:
    async def scene() -> None:
        workers, hangs, next_one = Workers(1, 100, 1, 0.01), Work(), Work()
        working = asyncio.create_task(workers.run(1, hangs))
        await until(hangs.began.is_set)
        with pytest.raises(Overloaded):
            await workers.run(1, Work())
        assert workers.longest() > 0
        hangs.go.set()
        next_one.go.set()
        assert [await working, await workers.run(1, next_one)] == ["done", "done"]

    run(scene())


def test_a_caller_that_leaves_gives_its_place_free() -> None:
    async def scene() -> None:
        workers, first, second = Workers(1, 100, 1, 60), Work(), Work()
        working = asyncio.create_task(workers.run(1, first))
        await until(first.began.is_set)
        leaves = asyncio.create_task(workers.run(100, Work()))
        await until(lambda: workers.full)
        leaves.cancel()
        await asyncio.wait([leaves])
        assert not workers.full
        # A caller that leaves while its picture is worked on frees the thread when that has ended.
        working.cancel()
        await asyncio.wait([working])
        waits = asyncio.create_task(workers.run(1, second))
        await until(lambda: workers.full)
        first.go.set()
        second.go.set()
        assert await waits == "done"

    run(scene())


def test_an_error_of_the_work_reaches_its_caller_and_frees_the_room() -> None:
    def fails() -> None:
        raise KeyError("bad")

    async def scene() -> None:
        workers = Workers(1, 100, 0, 60)
        for _ in range(2):
            with pytest.raises(KeyError):
                await workers.run(1, fails)

    run(scene())


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def paced(seconds: list[float], threads: int = 2, looks: float = 1.0) -> tuple[Pace, Clock]:
    clock = Clock()
    pace = Pace(threads, 2.0, clock=clock)
    for taken in seconds:
        with pace.picture(100.0) as looked:
            clock.now += taken
            looked(looks)
    return pace, clock


@pytest.mark.parametrize(
    ("seconds", "slow"),
    [([], False), ([30.0], False), ([0.1] * 7 + [3.0] * 9, True), ([3.0] * 7 + [0.1] * 9, False), ([3.0] * 4, True)],
)
def test_a_model_is_slow_that_usually_is(seconds: list[float], slow: bool) -> None:
    """One picture, the first of a new instance or on a busy machine, says nothing."""
    assert paced(seconds)[0].slow is slow


@pytest.mark.parametrize(("taken", "looks", "slow"), [(3.0, 37, False), (35.0, 37, True), (3.0, 0.3, True)])
def test_large_pictures_do_not_make_a_model_slow(taken: float, looks: float, slow: bool) -> None:
    """Nor is it slow for being asked for very small ones; but the largest are in time for SageMaker."""
    assert paced([taken] * 4, looks=looks)[0].slow is slow


def test_the_pace_is_told_by_the_look_every_few_seconds() -> None:
    clock, told = Clock(), []
    pace = Pace(2, 2.0, told.append, clock)
    for taken, looks in ((3.0, 1), (1.0, 10), (1.0, 2), (2.0, 10), (2.0, 1), (0.0, 1), (9.0, 30), (1.0, 0.5)):
        with pace.picture(100.0) as looked:
            clock.now += taken
            looked(looks)
    assert told == pytest.approx([3.0, 0.35, 0.15]), "the first at once, then medians of those since"


def test_each_thread_has_its_say() -> None:
    assert not paced([3.0] * 3, threads=4)[0].slow
    assert paced([3.0] * 4, threads=4)[0].slow


def test_a_model_that_comes_to_no_end_is_slow() -> None:
    pace, clock = paced([])
    with pace.picture(1):
        clock.now += 60
        assert not pace.slow, "the other thread may have long pictures to decode"
        with pace.picture(1):
            clock.now += 3.9
            assert not pace.slow
            clock.now += 0.2
            assert not pace.slow, "so it is too when a process goes on that was stopped"
            clock.now += 1.0
            assert pace.slow
        assert not pace.slow


def test_a_process_that_was_stopped_has_no_slow_model() -> None:
    pace, clock = paced([], threads=1)
    with pace.picture(1):
        clock.now += 60
        assert not pace.slow
    with pace.picture(1):
        clock.now += 60
        assert not pace.slow, "another picture: what was seen before is over"
