"""The server: what it listens on, what it says of itself."""

from __future__ import annotations

import json
from typing import Any

import psutil
import pytest

from laptop.account import read_keys
from tests.conformance.conftest import Cloud
from tests.support.signed import SignedRequest


def request(cloud: Cloud, method: str, path: str, body: bytes = b"") -> tuple[int, Any]:
    answer = SignedRequest(cloud.endpoint_url, method, path, body).sign(read_keys(cloud.home)).send()
    return answer.status, json.loads(answer.body)


def test_health_names_the_process_and_its_home(cloud: Cloud) -> None:
    status, health = request(cloud, "GET", "/_skyloop/health")
    assert status == 200
    assert health["status"] == "ready"
    assert health["home"] == str(cloud.home)
    assert "laptop.server" in " ".join(psutil.Process(health["pid"]).cmdline())


def test_it_listens_on_one_port_of_the_loopback_interface_only(cloud: Cloud) -> None:
    _, health = request(cloud, "GET", "/_skyloop/health")
    listening = [
        c.laddr for c in psutil.Process(health["pid"]).net_connections("inet") if c.status == psutil.CONN_LISTEN
    ]
    assert [f"http://{address.ip}:{address.port}" for address in listening] == [cloud.endpoint_url]


@pytest.mark.parametrize(
    "settings", [{"duplicates": True}, {"duplicate": "yes"}, {"lose": "Object Created"}, {"lose": [1]}, []]
)
def test_faults_that_do_not_exist_are_refused(cloud: Cloud, settings: Any) -> None:
    status, answer = request(cloud, "POST", "/_skyloop/faults", json.dumps(settings).encode())
    assert status == 400
    assert answer["error"]


def test_an_admin_path_that_does_not_exist_is_not_found(cloud: Cloud) -> None:
    assert request(cloud, "GET", "/_skyloop/nothing")[0] == 404
