"""Who opens connections and lets the cloud wait: it does not, and serves the others."""

from __future__ import annotations

import contextlib
import json
import resource
import socket
from urllib.parse import urlsplit

import psutil

from laptop.account import read_keys
from laptop.door.connections import WAITING
from tests.conformance.conftest import Cloud, wait_until
from tests.support.signed import SignedRequest


def test_connections_that_wait_are_bounded_and_keep_nobody_out(cloud: Cloud) -> None:
    address = urlsplit(cloud.endpoint_url)
    server = psutil.Process(json.loads(SignedRequest(cloud.endpoint_url, path="/_skyloop/health").send().body)["pid"])
    most = min(WAITING, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4)
    body = SignedRequest(cloud.endpoint_url, "POST", "/", b"{}").sign(read_keys(cloud.home), "dynamodb")
    host = f"Host: {address.netloc}\r\n"
    authorization = "".join(f"{name}: {value}\r\n" for name, value in body.headers.items())
    texts = [
        "",
        "GET /_skyl",
        f"POST / HTTP/1.1\r\n{host}{authorization}Content-Length: 1000000000\r\n\r\n",
        f"POST /_skyloop/health HTTP/1.1\r\n{host}Content-Length: 1000000000\r\n\r\n",
    ]

    def established() -> int:
        return sum(each.status == psutil.CONN_ESTABLISHED for each in server.net_connections("tcp"))

    others = established()  # of clients that were let in before
    with contextlib.ExitStack() as stack:
        for number in range(most + 60):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", address.port or 0)))
            connection.sendall(texts[number % len(texts)].encode())

        name = cloud.name("crowd")
        s3 = cloud.client("s3")
        s3.create_bucket(Bucket=name)
        s3.put_object(Bucket=name, Key="key", Body=b"x" * 1_000_000)
        assert s3.get_object(Bucket=name, Key="key")["Body"].read() == b"x" * 1_000_000
        wait_until(lambda: established() <= others + most + 20, what="fewer open connections")


def test_what_asks_for_the_health_sends_no_body(cloud: Cloud) -> None:
    assert SignedRequest(cloud.endpoint_url, "POST", "/_skyloop/health", b"x" * 100_000).send().status == 413
