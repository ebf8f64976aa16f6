"""What assembling a dataset costs: seconds, memory and calls, from a thousand frames to a million.

    python -m bench.assembly [FRAMES …]        default 1000 10000 100000; 1000000 takes a quarter of an hour

The function's own code runs over a bucket that is a folder, in a process that may use no more than the function's
MemorySize in template.yaml. Frames come in labeling jobs of a thousand, from flights of five hundred, with twenty boxes
each. Reading from S3 itself is not in it: each call takes some 20 ms there, and sixteen run at once.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import yaml
from rich.console import Console
from rich.table import Table
from skyloop import layout
from skyloop.aws.settings import Settings
from skyloop.aws.state import BATCH_GET_LIMIT
from skyloop.aws.storage import ObjectMissing, ObjectSummary, Storage, StoredObject
from skyloop.dataset.assembly import Assembly
from skyloop.dataset.labels import Box, LabeledImage, Labels
from skyloop.documents import AssembleRequest
from skyloop.formats.groundtruth import label_category_config

REPOSITORY = Path(__file__).resolve().parents[1]
CATEGORIES = ("car", "person", "boat")
JOB_FRAMES, FLIGHT_FRAMES, BOXES = 1000, 500, 20


class FolderStorage(Storage):
    """A bucket that is a folder; counts the calls that S3 would get."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bucket = "bucket"
        self.calls: Counter[str] = Counter()

    def read(self, key: str, *, at_most: int | None = None) -> StoredObject:
        """As the bucket would."""
        self.calls["get"] += 1
        try:
            return StoredObject(key, (self.folder / key).read_bytes())
        except FileNotFoundError as error:
            raise ObjectMissing(key) from error

    def write(self, key: str, body: bytes, *, content_type: str = "", metadata: dict[str, str] | None = None) -> str:
        """As the bucket would."""
        self.calls["put"] += 1
        (self.folder / key).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / key).write_bytes(body)
        return self.uri(key)

    @contextmanager
    def writing(self, key: str, content_type: str) -> Iterator[BinaryIO]:
        """As the bucket would."""
        self.calls["put"] += 1
        (self.folder / key).parent.mkdir(parents=True, exist_ok=True)
        with (self.folder / key).open("wb") as file:
            yield file

    def listing(self, prefix: str) -> Iterator[ObjectSummary]:
        """As the bucket would, once for each folder."""
        self.calls["list"] += 1
        for path in sorted((self.folder / prefix).glob("*")):
            yield ObjectSummary(f"{prefix}{path.name}", path.stat().st_size, 0.0)

    def folders(self, prefix: str) -> Iterator[str]:
        """As the bucket would, a thousand names in a call."""
        names = sorted(path.name for path in (self.folder / prefix).iterdir())
        self.calls["list"] += -(-len(names) // 1000)
        yield from (f"{prefix}{name}/" for name in names)


class NoCatalogue:
    """No image waits for an answer."""

    def of_job(self, job_name: str) -> list[Any]:
        """None."""
        return []


class Memory:
    """The state table; counts the calls that DynamoDB would get."""

    def __init__(self) -> None:
        self.items: dict[str, Any] = {}
        self.calls = 0

    def get_many(self, names: Iterator[str]) -> dict[str, Any]:
        """As the table would."""
        wanted = list(names)
        self.calls += -(-len(wanted) // BATCH_GET_LIMIT)
        return {name: self.items[name] for name in wanted if name in self.items}

    def put_if_absent(self, name: str, item: object) -> bool:
        """As the table would."""
        self.calls += 1
        return self.items.setdefault(name, item) == item


def write_labels(storage: FolderStorage, frames: int) -> str:
    """The records of so many frames, and an index of each job but the last. Returns the last job's name."""
    labels, chance = Labels(storage), random.Random(0)
    storage.write_json(layout.LABEL_CATEGORIES, label_category_config(CATEGORIES))
    jobs = [range(first, min(first + JOB_FRAMES, frames)) for first in range(0, frames, JOB_FRAMES)]
    for number, members in enumerate(jobs):
        job = f"skyloop-dev-{number:012d}"
        images = []
        for frame in members:
            image_id = hashlib.sha256(str(frame).encode()).hexdigest()
            boxes = tuple(
                Box(chance.choice(CATEGORIES), chance.randrange(5000), chance.randrange(3000), 30, 20)
                for _ in range(BOXES)
            )
            flight = f"flight-{frame // FLIGHT_FRAMES:06d}"
            file = f"{layout.RAW_IMAGES}{flight}/DJI_{frame % 10000:04d}.JPG"
            images.append(
                LabeledImage(
                    image_id, layout.labeled_image_key(image_id, "jpg"), file,
                    flight, job, 5472, 3648, boxes, "2026-11-23T12:00:00.000000+00:00",
                )
            )  # fmt: skip
        labels.keep(job, "0123456789ab", images)
        if number < len(jobs) - 1:
            labels.index(job)
            (storage.folder / layout.label_records(job) / "0123456789ab.jsonl").unlink()
    return job


def assemble(folder: Path, job: str) -> None:
    """In a process of its own: what is printed is the table's row."""
    storage, state = FolderStorage(folder), Memory()
    settings: Any = Settings.model_construct(min_train_images=4)
    started, worked = time.perf_counter(), time.process_time()
    answer = Assembly(storage, NoCatalogue(), state, settings).assemble(  # type: ignore[arg-type]
        AssembleRequest(labeling_job_name=job, correlation_id="bench", now=datetime.now(UTC))
    )
    seconds, worked = time.perf_counter() - started, time.process_time() - worked
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    calls = storage.calls
    print(
        answer.decision,
        f"{seconds:.1f}",
        f"{worked:.1f}",
        f"{peak:.0f}",
        calls["get"],
        calls["list"],
        calls["put"],
        state.calls,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("frames", type=int, nargs="*", default=[1000, 10_000, 100_000])
    options = parser.parse_args()

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (memory * 2**20, memory * 2**20))

    loader: Any = yaml.SafeLoader
    loader.add_multi_constructor("!", lambda *_: None)
    function = yaml.load((REPOSITORY / "template.yaml").read_text(), loader)["Resources"]["AssembleDatasetFunction"]
    memory, limit = (function["Properties"][name] for name in ("MemorySize", "Timeout"))
    table = Table(title=f"Assembling a dataset within {memory} MB; the function may take {limit} s")
    for column in ("frames", "decision", "seconds", "of the processor", "MB at most", "GET", "LIST", "PUT", "DynamoDB"):
        table.add_column(column, justify="right")
    for frames in options.frames:
        with tempfile.TemporaryDirectory() as folder:
            job = write_labels(FolderStorage(Path(folder)), frames)
            command = f"from bench.assembly import *; assemble(Path({folder!r}), {job!r})"
            done = subprocess.run(
                [sys.executable, "-c", command],
                capture_output=True,
                text=True,
                check=False,
                preexec_fn=limited,
            )
            row = done.stdout.split() if done.returncode == 0 else [done.stderr.strip().splitlines()[-1]]
            table.add_row(f"{frames:,}", *row)
    Console().print(table)


if __name__ == "__main__":
    main()
