"""Ask the endpoint what it sees in images, and draw it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from PIL import Image, ImageDraw, ImageFont, ImageOps, UnidentifiedImageError

from cli.cloud import Cloud
from cli.errors import CliError, error_code
from cli.flights import IMAGE_SUFFIXES

MAX_BODY_BYTES = 25 * 1024 * 1024  # SageMaker real-time inference
PALETTE = ("#ffd60a", "#ff375f", "#32d7ff", "#30d158", "#bf5af2", "#ff9f0a", "#66d4cf", "#ac8e68")


@dataclass(frozen=True)
class Detection:
    """One object: pixels of the upright image, confidence 0..1."""

    category: str
    category_id: int
    confidence: float
    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True)
class Answer:
    """What the endpoint says about one image."""

    path: Path
    width: int
    height: int
    detections: list[Detection]
    variant: str
    model: dict[str, Any]

    def as_document(self) -> dict[str, Any]:
        return {
            "image": str(self.path),
            "width": self.width,
            "height": self.height,
            "detections": [asdict(item) for item in self.detections],
            "variant": self.variant,
            "model": self.model,
        }


def find_images(paths: list[Path]) -> list[Path]:
    """Files as given, folders with everything in them that is an image by name. CliError when nothing is found."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(
                item for item in path.rglob("*") if item.suffix.lower() in IMAGE_SUFFIXES and item.is_file()
            )
        elif path.is_file():
            found.append(path)
        else:
            raise CliError(f"There is no {path}.", "Pass images, or folders of images.")
    if not found:
        raise CliError("No images there.", f"Images end in {', '.join(sorted(IMAGE_SUFFIXES))}.")
    return list(dict.fromkeys(found))


def content_type(body: bytes) -> str:
    """`image/jpeg` or `image/png` by the first bytes, `image/*` for anything else."""
    if body.startswith(b"\xff\xd8"):
        return "image/jpeg"
    return "image/png" if body.startswith(b"\x89PNG\r\n\x1a\n") else "image/*"


def ask(cloud: Cloud, path: Path, confidence: float | None = None, variant: str | None = None) -> Answer:
    """Send a file's bytes as they are to the endpoint.

    CliError when it cannot be sent, when the endpoint is not in service, or when it refuses the image.
    """
    body = path.read_bytes()
    if len(body) > MAX_BODY_BYTES:
        raise CliError(
            f"{path} has {len(body) / 1e6:.0f} MB; an endpoint takes 25 MB.", "Cut it into frames, or compress it."
        )
    options: dict[str, str] = {"CustomAttributes": f"confidence={confidence}"} if confidence is not None else {}
    if variant:
        options["TargetVariant"] = variant
    try:
        reply = cloud.client("sagemaker-runtime").invoke_endpoint(
            EndpointName=cloud.endpoint_name,
            ContentType=content_type(body),
            Accept="application/json",
            Body=body,
            **options,
        )
    except ClientError as error:
        raise _refusal(cloud, path, error) from error
    document = json.loads(reply["Body"].read())
    return Answer(
        path,
        document["image"]["width"],
        document["image"]["height"],
        [Detection(**{name: item[name] for name in Detection.__dataclass_fields__}) for item in document["detections"]],
        reply.get("InvokedProductionVariant", ""),
        document.get("model", {}),
    )


def _refusal(cloud: Cloud, path: Path, error: ClientError) -> CliError:
    code, message = error_code(error), error.response.get("Error", {}).get("Message", "")
    if code == "ModelError":
        reason = error.response.get("OriginalMessage", message)
        return CliError(f"The model refuses {path}: {reason}", "Is it an image? `skyloop detect` sends JPEG and PNG.")
    if code in {"ValidationError", "ValidationException"} and "not found" in message.lower():
        return CliError(
            f"There is no endpoint {cloud.endpoint_name} yet.",
            "The first approved model creates it: `skyloop drop` images with labels, then `skyloop watch`.",
        )
    return CliError(f"{cloud.endpoint_name} cannot answer ({code}): {message}", "`skyloop status` shows its state.")


@lru_cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def upright(body: bytes) -> Image.Image:
    """The image as people see it, EXIF orientation applied, RGB: the pixels that detections are given in."""
    with Image.open(BytesIO(body)) as image:
        return ImageOps.exif_transpose(image).convert("RGB")


def draw(image: Image.Image, detections: list[Detection], labels: bool = True) -> Image.Image:
    """A copy with boxes; line and text sizes follow the image's, so a 20 MP picture is as readable as a small one."""
    picture = image.copy()
    pen = ImageDraw.Draw(picture)
    line = max(1, round(max(picture.size) / 400))
    font = _font(max(10, round(max(picture.size) / 60)))
    for item in sorted(detections, key=lambda item: item.confidence):
        color = PALETTE[item.category_id % len(PALETTE)]
        corners = (item.left, item.top, item.left + item.width, item.top + item.height)
        pen.rectangle(corners, outline=color, width=line)
        if labels:
            text = f"{item.category} {item.confidence:.2f}"
            left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
            y = item.top - (bottom - top) - 2 * line
            y = y if y >= 0 else item.top + line
            pen.rectangle((item.left, y, item.left + right - left + 2 * line, y + bottom - top + 2 * line), fill=color)
            pen.text((item.left + line - left, y + line - top), text, fill="black", font=font)
    return picture


def save_picture(answer: Answer, target: Path) -> None:
    """Draw an answer on its image and save it; the format follows the suffix. CliError when it cannot be drawn."""
    try:
        picture = draw(upright(answer.path.read_bytes()), answer.detections)
        target.parent.mkdir(parents=True, exist_ok=True)
        picture.save(target, quality=92, subsampling=0)  # thin lines keep their color
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError) as error:
        raise CliError(
            f"{answer.path} cannot be drawn: {error}", "Use --json for the boxes without a picture."
        ) from error


def picture_names(paths: list[Path], folder: Path) -> Iterator[Path]:
    """A name in `folder` for each picture: never an image's own, never the same twice."""
    taken: set[str] = set()
    for path in paths:
        name, number = f"{path.stem}-detections.jpg", 2
        while name.lower() in taken:
            name, number = f"{path.stem}-{number}-detections.jpg", number + 1
        taken.add(name.lower())
        yield folder / name
