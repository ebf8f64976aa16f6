"""What converting labels costs: the calls of S3 and DynamoDB for each frame of a batch.

    python -m bench.conversion [--frames 40]

The function's own code converts frames that were dropped and catalogued, and frames of an imported manifest, which the
catalogue does not know; moto answers. A batch reads its part of the manifest and the label categories, and writes one
record: those calls are shared out among its frames. In version 0.1.0, which cut frames into tiles, one of 12 megapixels
took 25 calls of S3.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter

import pytest
from botocore.model import OperationModel
from moto import mock_aws
from rich.console import Console
from rich.table import Table
from skyloop import layout
from skyloop.aws.catalogue import Catalogue
from skyloop.aws.clients import client
from skyloop.aws.storage import Storage
from skyloop.dataset.conversion import Conversion
from skyloop.documents import ConvertRequest
from skyloop.formats.groundtruth import label_category_config
from skyloop.intake.intake import Intake
from skyloop.intake.uploads import Upload

from tests.support.account import BUCKET, ENVIRONMENT, create_stack, set_environment
from tests.support.pictures import encoded, picture

JOB = "skyloop-dev-0123456789ab"
SIDE = 200  # pixels of a frame: S3 copies it, whatever its size


def manifest_line(image_id: str, key: str) -> str:
    """A line of Ground Truth's output with twenty boxes."""
    boxes = [{"class_id": 0, "left": 9 * n, "top": 5 * n, "width": 8, "height": 6} for n in range(20)]
    size = [{"width": SIDE, "height": SIDE, "depth": 3}]
    metadata = {
        "objects": [{"confidence": 0.0}] * len(boxes),
        "class-map": {"0": "car"},
        "type": "groundtruth/object-detection",
        "human-annotated": "yes",
        "creation-date": "2026-11-23T12:00:00.000000",
        "job-name": f"labeling-job/{JOB}",
    }
    known = {"image-id": image_id} if image_id else {}
    labels = {"boxes": {"image_size": size, "annotations": boxes}, "boxes-metadata": metadata}
    return json.dumps({"source-ref": f"s3://{BUCKET}/{key}", **known, **labels})


def convert(frames: int, *, catalogued: bool) -> Counter[str]:
    """The calls of one batch."""
    storage = Storage(client("s3"), BUCKET)
    catalogue = Catalogue(client("dynamodb"), ENVIRONMENT["SKYLOOP_CATALOGUE_TABLE"])
    storage.write_json(layout.LABEL_CATEGORIES, label_category_config(["car"]))
    lines = []
    for number in range(frames):
        key = f"{layout.RAW_IMAGES}north/{number}.jpg"
        storage.write(key, encoded(picture(SIDE, SIDE, seed=number)))
        image_id = ""
        if catalogued:
            Intake(storage, catalogue).take(Upload(bucket=BUCKET, key=key))
            image_id = storage.digest(key).sha256
            catalogue.claim(image_id, JOB)
        lines.append(manifest_line(image_id, key))
    uri = storage.write(f"{layout.LABELING_JOBS}{JOB}/output.manifest", "\n".join(lines).encode())
    calls: Counter[str] = Counter()

    def count(model: OperationModel, **_: object) -> None:
        calls[f"{model.service_model.service_name} {model.name}"] += 1

    for each in (storage.client, catalogue.client):
        each.meta.events.register("before-call", count, unique_id="count")
    answer = Conversion(storage, catalogue).convert(
        ConvertRequest(
            job_name=JOB, label_attribute_name="boxes", manifest_uri=uri, correlation_id="bench", part=0, parts=1
        )
    )
    for each in (storage.client, catalogue.client):
        each.meta.events.unregister("before-call", unique_id="count")
    assert answer.converted == frames
    return calls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=40, help="in the batch")
    options = parser.parse_args()
    table = Table(title=f"Converting a batch of {options.frames} frames")
    for column in ("frames", "S3 calls a frame", "DynamoDB calls a frame", "calls of the batch"):
        table.add_column(column, justify="right" if column.endswith("a frame") else "left")
    for name, catalogued in (("dropped and catalogued", True), ("of an imported manifest", False)):
        with pytest.MonkeyPatch.context() as patch, mock_aws():
            set_environment(patch)
            create_stack()
            calls = convert(options.frames, catalogued=catalogued)
        shares = [
            sum(count for call, count in calls.items() if call.startswith(service)) / options.frames
            for service in ("s3", "dynamodb")
        ]
        each = ", ".join(f"{call.split()[1]} {count}" for call, count in sorted(calls.items()))
        table.add_row(name, *(f"{share:.2f}" for share in shares), each)
    Console().print(table)


if __name__ == "__main__":
    main()
