"""What invoke_endpoint adds on the laptop cloud: a container called directly and through the endpoint, side by side.

    python -m bench.serving [--requests N] [--model model.tar.gz --image picture.jpg] [--json]

Without a model, a container that answers at once shows the cost of the way alone; with the model.tar.gz of a training
job, the real serving container answers for an image. Role policies are enforced. "endpoint" is boto3's
invoke_endpoint, signing and parsing included; the last line gives the part of it spent in the router itself
(CloudWatch's OverheadLatency).
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import psutil
from botocore.config import Config
from rich.console import Console
from rich.table import Table

from laptop import lifecycle
from laptop.account import client_settings, read_keys

ECHO = """
import asyncio, os
ANSWER = b"HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\nContent-Length: 2\\r\\n\\r\\n{}"
async def serve(reader, writer):
    while True:
        try:
            head = await reader.readuntil(b"\\r\\n\\r\\n")
        except asyncio.IncompleteReadError:
            return writer.close()
        for line in head.lower().split(b"\\r\\n"):
            if line.startswith(b"content-length:"):
                await reader.readexactly(int(line.split(b":")[1]))
        writer.write(ANSWER)
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"]), limit=2**26)
    await server.serve_forever()
asyncio.run(main())
"""
TRUST = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
READ = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}


class Bench:
    """A laptop cloud of its own with one endpoint of one instance."""

    def __init__(self, folder: Path, url: str, model: Path | None) -> None:
        self._url = url
        self._home = folder / "home"
        image = "skyloop-training:1" if model else "echo:1"
        if model is None:
            container = folder / "echo"
            container.mkdir()
            (container / "Dockerfile").write_text('FROM scratch\nENTRYPOINT ["python3", "echo.py"]\n')
            (container / "echo.py").write_text(ECHO)
            (self._home / "images.json").write_text(json.dumps({"echo": str(container)}))
        self.client("s3").create_bucket(Bucket="bench")
        self.client("s3").put_object(Bucket="bench", Key="model.tar.gz", Body=model.read_bytes() if model else _empty())
        iam = self.client("iam")
        role = iam.create_role(RoleName="bench", AssumeRolePolicyDocument=_policy(TRUST))["Role"]["Arn"]
        iam.put_role_policy(RoleName="bench", PolicyName="read", PolicyDocument=_policy(READ))
        sagemaker = self.client("sagemaker")
        sagemaker.create_model(
            ModelName="bench",
            ExecutionRoleArn=role,
            PrimaryContainer={"Image": image, "ModelDataUrl": "s3://bench/model.tar.gz"},
        )
        variant = {"VariantName": "v", "ModelName": "bench", "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
        sagemaker.create_endpoint_config(EndpointConfigName="bench", ProductionVariants=[variant])
        began = time.perf_counter()
        sagemaker.create_endpoint(EndpointName="bench", EndpointConfigName="bench")
        while (status := sagemaker.describe_endpoint(EndpointName="bench")["EndpointStatus"]) == "Creating":
            time.sleep(0.05)
        if status != "InService":
            raise SystemExit(sagemaker.describe_endpoint(EndpointName="bench")["FailureReason"])
        self.ready_seconds = time.perf_counter() - began

    def client(self, service: str) -> Any:
        """A client with connections for all clients of the measurement."""
        config = Config(max_pool_connections=32)
        return boto3.session.Session().client(
            service, config=config, **client_settings(self._url, read_keys(self._home))
        )

    def container_port(self) -> int:
        """The port of the serving process, found by the folder it was given."""
        for process in psutil.process_iter():
            try:
                environment = process.environ()
            except psutil.Error:
                continue
            if environment.get("SAGEMAKER_BASE_DIR", "").startswith(str(self._home / "endpoints")):
                return int(environment["SAGEMAKER_BIND_TO_PORT"])
        raise SystemExit("the serving process was not found")

    def overhead_ms(self, since: float) -> float:
        """Mean OverheadLatency since a moment, in milliseconds."""
        time.sleep(2)  # metrics are published once a second
        points = self.client("cloudwatch").get_metric_statistics(
            Namespace="AWS/SageMaker",
            MetricName="OverheadLatency",
            Dimensions=[{"Name": "EndpointName", "Value": "bench"}, {"Name": "VariantName", "Value": "v"}],
            StartTime=since,
            EndTime=time.time() + 60,
            Period=86400,
            Statistics=["Average"],
        )["Datapoints"]
        return points[0]["Average"] / 1000


def _policy(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def _empty() -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz"):
        pass
    return archive.getvalue()


def measure(make: Callable[[], Callable[[], None]], requests: int, clients: int) -> dict[str, float]:
    """Latency in milliseconds and requests per second, for `requests` calls shared by `clients` at once."""

    def one(count: int) -> list[float]:
        call, taken = make(), []
        for _ in range(5):
            call()
        for _ in range(count):
            began = time.perf_counter()
            call()
            taken.append(time.perf_counter() - began)
        return taken

    with ThreadPoolExecutor(clients) as pool:
        taken = [value * 1000 for values in pool.map(one, [requests // clients] * clients) for value in values]
    cuts = statistics.quantiles(taken, n=100)
    return {"p50": cuts[49], "p95": cuts[94], "per_second": 1000 * clients / statistics.mean(taken)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--model", type=Path, help="model.tar.gz of a training job")
    parser.add_argument("--image", type=Path, help="picture to send; needed with --model")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.model and not arguments.image:
        parser.error("--model needs --image")
    body = arguments.image.read_bytes() if arguments.image else b"x" * 100_000
    rows = []
    with tempfile.TemporaryDirectory() as name:
        running, process = lifecycle.start(Path(name) / "home", port=0)
        try:
            bench = Bench(Path(name), running.endpoint_url, arguments.model)
            port = bench.container_port()

            def direct() -> Callable[[], None]:
                connection = http.client.HTTPConnection("127.0.0.1", port)

                def call() -> None:
                    connection.request("POST", "/invocations", body, {"Content-Type": "image/jpeg"})
                    answer = connection.getresponse()
                    if answer.status != 200:
                        raise SystemExit(answer.read().decode())
                    answer.read()

                return call

            def through() -> Callable[[], None]:
                runtime = bench.client("sagemaker-runtime")
                return lambda: runtime.invoke_endpoint(EndpointName="bench", Body=body, ContentType="image/jpeg")[
                    "Body"
                ].read()

            for clients in (1, 4):
                for way, make in (("container", direct), ("endpoint", through)):
                    rows.append({"way": way, "clients": clients, **measure(make, arguments.requests, clients)})
            overhead = bench.overhead_ms(time.time() - 3600)
        finally:
            lifecycle.stop(process)

    if arguments.json:
        print(json.dumps({"ready_seconds": bench.ready_seconds, "router_ms": overhead, "rows": rows}))
        return
    table = Table("way", "clients", "p50 ms", "p95 ms", "requests/s", title=f"{len(body):,} bytes per request")
    for row in rows:
        table.add_row(row["way"], str(row["clients"]), *(f"{row[key]:.1f}" for key in ("p50", "p95", "per_second")))
    Console().print(table)
    print(f"in service after {bench.ready_seconds:.2f} s; in the router {overhead:.2f} ms per request")


if __name__ == "__main__":
    main()
