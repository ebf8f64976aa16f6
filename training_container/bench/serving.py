"""What a client waits for: this container beside servers as people build them, in one run.

    PYTHONPATH=training_container python -m training_container.bench.serving [--model DIR] [--image 1920x1080]

The same weights, pictures, client and cores for all; see `bench.peers` for what they are. `pip install fastapi litserve
python-multipart` brings the peers; without them only this container is measured, with each engine that this machine
has. Without --model an untrained YOLO11n is exported first.

One table: requests a second and milliseconds (median, 95th percentile) for 1, 4 and 16 clients, the first answer after
the start of the process, and the memory of all processes under load; and the processor's milliseconds an answer at 4
clients, which other work on the machine changes little. The bare loop does this container's work (the profile for the
drift alarm included) with nothing around.
"""

import argparse
import http.client
import importlib.util
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import psutil
from rich.console import Console
from rich.table import Table
from skyloop_container.dataset import decode
from skyloop_container.engine_choice import choose
from skyloop_container.engines import ENGINES
from skyloop_container.environment import available_cores
from skyloop_container.ultralytics_setup import prepare

from training_container.bench.endpoint import HOST, environment, free_port
from training_container.bench.inference import jpeg, throughput, unlabeled, untrained

ROOT = Path(__file__).resolve().parents[2]
CLIENTS = (1, 4, 16)
BOUNDARY = "picture-of-a-flight"
START_SECONDS = 120.0


def form(body: bytes) -> bytes:
    """A picture as a form's file."""
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="picture"; filename="a.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    )
    return head.encode() + body + f"\r\n--{BOUNDARY}--\r\n".encode()


class Server:
    """One server: how it is started, and how it is asked."""

    def __init__(self, name: str, model_dir: Path, image: bytes, folder: Path) -> None:
        """One of the peers, or this container with the engine of that name; `folder` is for what it needs."""
        self.name = name
        self.body, self.headers = image, {"Content-Type": "image/jpeg"}
        if name == "litserve":
            self.body, self.headers = form(image), {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        self.port = free_port()
        self._command = [sys.executable, "-m", "training_container.bench.peers", name, str(model_dir), str(self.port)]
        self._environment = environment(model_dir, folder, self.port) | {"OMP_NUM_THREADS": "1"}
        if name in ENGINES:
            self._command = [sys.executable, "-m", "skyloop_container", "serve"]
            self._environment["SKYLOOP_ENGINE"] = name

    def ask(self, connection: http.client.HTTPConnection) -> float:
        """One request; returns its milliseconds."""
        began = time.perf_counter()
        connection.request("POST", "/invocations", self.body, self.headers)
        response = connection.getresponse()
        content = response.read()
        if response.status != 200:
            raise RuntimeError(f"{self.name}: {response.status} {content[:300]!r}")
        return 1000 * (time.perf_counter() - began)

    def connect(self) -> http.client.HTTPConnection:
        """A connection that is kept for all requests of a client."""
        return http.client.HTTPConnection(HOST, self.port, timeout=60)

    @contextmanager
    def running(self) -> Iterator[tuple[psutil.Process, float]]:
        """The process, and seconds to its first answer."""
        began = time.perf_counter()
        process = subprocess.Popen(self._command, cwd=ROOT, env=self._environment, stdout=subprocess.DEVNULL)
        tree = psutil.Process(process.pid)
        try:
            while True:
                try:
                    self.ask(self.connect())
                    break
                except (OSError, http.client.HTTPException, RuntimeError):
                    if process.poll() is not None or time.perf_counter() - began > START_SECONDS:
                        raise
                    time.sleep(0.02)
            yield tree, time.perf_counter() - began
        finally:
            for one in [*tree.children(recursive=True), tree]:
                one.kill()
            process.wait()


def load(server: Server, clients: int, answers: int) -> tuple[float, float, float]:
    """Requests a second, median and 95th percentile of milliseconds."""

    def client(_: int) -> list[float]:
        connection = server.connect()
        return [server.ask(connection) for _ in range(max(answers // clients, 1))]

    with ThreadPoolExecutor(clients) as pool:
        began = time.perf_counter()
        times = [one for some in pool.map(client, range(clients)) for one in some]
        seconds = time.perf_counter() - began
    return len(times) / seconds, float(np.median(times)), float(np.percentile(times, 95))


def processor_seconds(process: psutil.Process) -> float:
    """What a process and those that it started have computed so far."""
    return sum(sum(one.cpu_times()[:2]) for one in [process, *process.children(recursive=True)])


def memory_under_load(server: Server, process: psutil.Process, answers: int) -> int:
    """The most bytes of all processes, where what they share counts once."""
    most = 0
    with ThreadPoolExecutor(1) as pool:
        going_on = pool.submit(load, server, CLIENTS[-1], answers)
        while not going_on.done():
            tree = [process, *process.children(recursive=True)]
            most = max(most, sum(one.memory_full_info().pss for one in tree))
            time.sleep(0.2)
    return most


def processor() -> str:
    """What this machine computes with, and whether in bfloat16."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "flags":
            features = [one for one in ("avx512_vnni", "avx512_bf16", "amx_bf16") if one in value.split()]
            return f"{platform.machine()} ({', '.join(features) or 'none of AVX512-VNNI, AVX512-BF16, AMX'})"
    return platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="folder with model.onnx, model.json and model.pt")
    parser.add_argument("--size", type=int, default=640, help="input side of the untrained model")
    parser.add_argument("--image", default="1920x1080", help="WIDTHxHEIGHT of the JPEG")
    parser.add_argument("--answers", type=int, default=200, help="for each number of clients")
    options = parser.parse_args()
    width, height = map(int, options.image.split("x"))
    image, cores = jpeg(width, height), available_cores()
    peers = [name for name in ("fastapi", "litserve") if importlib.util.find_spec(name)]
    if len(peers) < 2:
        print("without some peers: pip install fastapi litserve python-multipart")
    with tempfile.TemporaryDirectory() as scratch:
        prepare(Path(scratch) / "settings")
        cv2.setNumThreads(1)
        model_dir = options.model or untrained(Path(scratch), options.size, image, (width, height))
        picture = decode(image, None)
        engines = [*choose(model_dir, [picture], [picture.shape[1::-1]], unlabeled).measured.items()]
        usable = [name for name, measured in engines if "milliseconds" in measured]
        table = Table(title=f"{options.image} JPEG, {cores} cores of {processor()}")
        clients = [f"{clients} clients" for clients in CLIENTS]
        for column in ("server", *clients, "processor", "bare", "first answer", "memory"):
            table.add_column(column, justify="left" if column == "server" else "right")
        for name in (*usable, *peers):
            bare = throughput(model_dir, image, 1, cores, options.answers, name) if name in ENGINES else None
            server = Server(name, model_dir, image, Path(scratch) / name)
            with server.running() as (process, first):
                load(server, 2 * cores, 4 * cores)  # every worker has answered once
                rates, used = [], 0.0
                for count in CLIENTS:
                    before = processor_seconds(process)
                    rates.append(load(server, count, options.answers))
                    if count == CLIENTS[1]:
                        used = (processor_seconds(process) - before) / options.answers
                memory = memory_under_load(server, process, options.answers)
            shown = [f"{rate:.1f}/s {median:.0f}, {late:.0f} ms" for rate, median, late in rates]
            row = f"skyloop, {name}" if bare else name
            table.add_row(
                row, *shown, f"{1000 * used:.1f} ms", f"{bare:.1f}/s" if bare else "",
                f"{first:.1f} s", f"{memory / 2**20:.0f} MiB",
            )  # fmt: skip
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
