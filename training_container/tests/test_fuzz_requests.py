"""The short form of `make fuzz` for requests to the endpoint, and requests that are larger than those that it makes."""

import asyncio
import threading

import pytest
from skyloop.formats import pictures
from skyloop.formats.pictures import Picture, open_picture
from skyloop_container import serve

from tests.fuzz.campaign import run
from tests.support.pictures import encoded, picture
from tests.unit.skyloop.formats.test_picture_files import SLOW
from training_container.tests.fuzz_requests import ask, detector, request, targets


def test_no_request_is_the_servers_fault() -> None:
    result = run("request", seed=1, numbers=range(1000), load=targets)
    assert result.failures == []
    assert set(result.verdicts) == {"200", "400"}


@pytest.mark.parametrize("name", SLOW)
def test_what_decoders_are_slow_at_is_the_callers_fault(name: str) -> None:
    assert request(b"\n" + SLOW[name]) == "400"


def test_a_scan_of_stuffed_bytes_is_answered() -> None:
    body = encoded(picture())
    assert request(b"\n" + body[:-2] + b"\xff\x00\xff\xd0" * 5_000_000 + body[-2:]) == "200"


def test_a_file_is_walked_once_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes 70 ms of a core for a PNG of 24 MB."""
    walked, body, strip = [], encoded(picture()), pictures.strip
    monkeypatch.setattr(pictures, "strip", lambda kind, data: walked.append(data) or strip(kind, data))
    assert asyncio.run(ask(serve.create_app(detector(), 1, 2**32, 2.0), body)) == 200
    assert walked == [body]


@pytest.mark.parametrize(("seconds", "soon", "refused"), [(60.0, 0.0, 1), (0.2, 60.0, serve.QUEUE_PER_WORKER + 1)])
def test_headers_have_a_queue_with_an_end(
    seconds: float, soon: float, refused: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a header cannot be read: one request too many is refused at once, each when it has waited long enough."""
    go = threading.Event()

    def hangs(body: bytes) -> Picture:
        assert go.wait(60)
        return open_picture(body)

    monkeypatch.setattr(serve, "opened", hangs)
    monkeypatch.setattr(serve, "HEADER_SECONDS", seconds, raising=False)
    monkeypatch.setattr(serve, "SOON_SECONDS", soon)

    async def scene() -> None:
        app, body = serve.create_app(detector(), 1, 2**32, 2.0), encoded(picture())
        asked = {asyncio.create_task(ask(app, body)) for _ in range(1 + serve.QUEUE_PER_WORKER + 1)}
        try:
            answered: list[int] = []
            async with asyncio.timeout(10):
                while len(answered) < refused:
                    done, asked = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
                    answered += [task.result() for task in done]
            assert answered == [429] * refused
        finally:
            go.set()
        assert await asyncio.gather(*asked) == [200] * len(asked)
        assert await ask(app, body) == 200

    asyncio.run(scene())


@pytest.mark.parametrize(("slow", "status"), [(True, 503), (False, 429)])
def test_one_request_too_many_is_the_models_fault_only_where_the_model_is_slow(
    slow: bool, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What decoding takes, which callers decide about, is no sign of that."""
    go = threading.Event()

    def works(*_: object) -> dict[str, str]:
        assert go.wait(60)
        return {}

    monkeypatch.setattr(serve, "predict_image", works)
    monkeypatch.setattr(serve, "SOON_SECONDS", 0.0)
    monkeypatch.setattr(serve.Pace, "slow", slow)

    async def scene() -> None:
        app, body = serve.create_app(detector(), 1, 2**32, 2.0), encoded(picture())
        asked = [asyncio.create_task(ask(app, body)) for _ in range(1 + serve.QUEUE_PER_WORKER + 1)]
        try:
            async with asyncio.timeout(10):
                refused, others = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            assert [task.result() for task in refused] == [status]
        finally:
            go.set()
        assert await asyncio.gather(*others) == [200] * len(others)

    asyncio.run(scene())
    assert ("The model takes" in capsys.readouterr().out) is slow, "the logs say why a version is out of service"


def test_a_web_page_cannot_ask_the_container() -> None:
    app, body = serve.create_app(detector(), 1, 2**32, 2.0), encoded(picture())
    assert asyncio.run(ask(app, body, b"", (b"origin", b"https://a.example"))) == 403
