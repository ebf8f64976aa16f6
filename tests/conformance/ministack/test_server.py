"""The server: what it listens on, what it says of itself."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import psutil
import pytest


def request(cloud: Any, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
    call = urllib.request.Request(f"{cloud.endpoint_url}{path}", data=body, method=method)
    try:
        with urllib.request.urlopen(call) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_health_names_the_process_and_its_home(cloud: Any) -> None:
    status, health = request(cloud, "GET", "/_skyloop/health")
    assert status == 200
    assert health["status"] == "ready"
    assert health["home"] == str(cloud.home)
    assert "laptop.server" in " ".join(psutil.Process(health["pid"]).cmdline())


def test_it_listens_on_one_port_of_the_loopback_interface_only(cloud: Any) -> None:
    _, health = request(cloud, "GET", "/_skyloop/health")
    listening = [
        c.laddr for c in psutil.Process(health["pid"]).net_connections("inet") if c.status == psutil.CONN_LISTEN
    ]
    assert [f"http://{address.ip}:{address.port}" for address in listening] == [cloud.endpoint_url]


@pytest.mark.parametrize(
    "settings", [{"duplicates": True}, {"duplicate": "yes"}, {"lose": "Object Created"}, {"lose": [1]}, []]
)
def test_faults_that_do_not_exist_are_refused(cloud: Any, settings: Any) -> None:
    status, answer = request(cloud, "POST", "/_skyloop/faults", json.dumps(settings).encode())
    assert status == 400
    assert answer["error"]


def test_an_admin_path_that_does_not_exist_is_not_found(cloud: Any) -> None:
    assert request(cloud, "GET", "/_skyloop/nothing")[0] == 404
