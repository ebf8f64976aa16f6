"""The short form of `make fuzz` for requests to the endpoint."""

from tests.fuzz.campaign import run
from training_container.tests.fuzz_requests import targets


def test_no_request_is_the_servers_fault() -> None:
    result = run("request", seed=1, numbers=range(1000), load=targets)
    assert result.failures == []
    assert set(result.verdicts) == {"200", "400"}
