"""Ask the endpoint what it detects on images, and draw it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from PIL import Image
from skyloop.documents import Detection, EndpointResponse, JsonObject, parse_json
from skyloop.formats.pictures import READABLE, ImageRefused, media_type, open_picture

from cli.cloud import Cloud
from cli.drawing import draw_detections
from cli.errors import CliError, error_code
from cli.flights import IMAGE_SUFFIXES, by_products_sentence, search_images

MAX_BODY_BYTES = 25 * 1024 * 1024  # SageMaker real-time inference


_WHAT_IS_READ = "Is it an image? The model reads JPEG, PNG, WebP, BMP and TIFF."
# By the code that the container gives with its reason (skyloop.formats.pictures).
_NEXT_STEPS = {
    **dict.fromkeys(("empty", "truncated"), "Copy or export the file again: a part of it is missing."),
    "broken": "Copy the file again; if that does not help, save it again as JPEG or PNG.",
    **dict.fromkeys(("too-complex", "unsupported-format"), "Save it again as an ordinary JPEG or PNG."),
    "too-many-pixels": "Do as is said above, then detect on what it gives.",
    "too-thin": "Leave it out, or cut the place that matters from a larger picture.",
    "": "Correct what is named above; `skyloop detect --help` shows the options.",
}


@dataclass(frozen=True)
class ImageDetections:
    """What the endpoint detected on one image; sizes and boxes in pixels of the upright image."""

    path: Path
    width: int
    height: int
    detections: tuple[Detection, ...]
    variant: str
    model: JsonObject

    def as_document(self) -> dict[str, object]:
        """The members, ready for JSON."""
        return {
            "image": str(self.path),
            "width": self.width,
            "height": self.height,
            "detections": [item.model_dump() for item in self.detections],
            "variant": self.variant,
            "model": self.model,
        }


def find_images(paths: list[Path]) -> tuple[list[Path], Counter[str]]:
    """Files as given, and the images that `drop` would find in folders; then the by-products left out, by name.

    Raises CliError when nothing is found.
    """
    found: list[Path] = []
    by_products: Counter[str] = Counter()
    for path in paths:
        if path.is_dir():
            search = search_images(path)
            found += search.images
            by_products += search.by_products
        elif path.is_file():
            found.append(path)
        else:
            raise CliError(f"There is no {path}.", "Pass images, or folders of images.")
    if not found:
        left_out = f" {by_products_sentence(by_products)}" if by_products else ""
        raise CliError(f"No images there.{left_out}", f"Images end in {', '.join(sorted(IMAGE_SUFFIXES))}.")
    return list(dict.fromkeys(found)), by_products


def detect_image(cloud: Cloud, path: Path, confidence: float | None = None) -> ImageDetections:
    """Send a file's bytes, unchanged, to the endpoint.

    Raises CliError when the file cannot be read or is too large, when the endpoint is not in service, when it refuses
    the image, or when its response is not a detector's.
    """
    try:
        body = path.read_bytes()
    except OSError as error:
        raise CliError(f"{path} cannot be read: {error.strerror}", "Make it readable, or leave it out.") from error
    if len(body) > MAX_BODY_BYTES:
        raise CliError(
            f"{path} has {len(body) / 1e6:.0f} MB; an endpoint takes 25 MB.", "Cut it into frames, or compress it."
        )
    options: dict[str, str] = {"CustomAttributes": f"confidence={confidence}"} if confidence is not None else {}
    try:
        response = cloud.client("sagemaker-runtime").invoke_endpoint(
            EndpointName=cloud.endpoint_name,
            ContentType=media_type(body) or "image/*",
            Accept="application/json",
            Body=body,
            **options,
        )
    except ClientError as error:
        raise _refusal(cloud, path, error) from error
    try:
        document = EndpointResponse.model_validate_json(response["Body"].read())
    except ValueError as error:
        raise CliError(
            f"{cloud.endpoint_name} gave a response that Skyloop does not understand: {error}",
            "`skyloop status` shows which version serves.",
        ) from error
    return ImageDetections(
        path,
        document.image["width"],
        document.image["height"],
        document.detections,
        response.get("InvokedProductionVariant", ""),
        document.model,
    )


def _sentence(body: str) -> tuple[str, str]:
    """The container's reason and its code for a refused picture, "" where it refused something else.

    What does not speak as Skyloop's container does is told as it is, and taken for the picture's refusal.
    """
    try:
        said = parse_json(body)
    except ValueError:
        return body, "unknown"
    if not isinstance(said, dict) or not isinstance(said.get("error"), str):
        return body, "unknown"
    refused = re.fullmatch(r"The body cannot be used \(([a-z-]+)\): (.*)", said["error"], re.DOTALL)
    return (refused[2], refused[1]) if refused else (said["error"], "")


def _refusal(cloud: Cloud, path: Path, error: ClientError) -> CliError:
    code, message = error_code(error), error.response.get("Error", {}).get("Message", "")
    if code == "ModelError":
        answered: Mapping[str, Any] = error.response  # ModelError alone has OriginalStatusCode and OriginalMessage
        reason, picture = _sentence(str(answered.get("OriginalMessage", message)))
        status = answered.get("OriginalStatusCode", 400)
        if status in {408, 429}:
            return CliError(
                f"{cloud.endpoint_name} has no time for {path}: {reason}", "Run the same again in a minute."
            )
        if not 400 <= status < 500:
            return CliError(f"The model failed on {path}: {reason}", "`skyloop logs Endpoints` says why.")
        return CliError(f"The model refuses {path}: {reason}", _NEXT_STEPS.get(picture, _WHAT_IS_READ))
    if code in {"ValidationError", "ValidationException"} and "not found" in message.lower():
        return CliError(
            f"There is no endpoint {cloud.endpoint_name} yet.",
            "The first approved model creates it: `skyloop drop` images with labels, then `skyloop watch`.",
        )
    return CliError(f"{cloud.endpoint_name} cannot answer ({code}): {message}", "`skyloop status` shows its state.")


def upright(body: bytes) -> Image.Image:
    """The image as a person sees most of it, in the pixels that detections are given in. Raises ImageRefused."""
    return open_picture(body, READABLE).show()


def save_picture(found: ImageDetections, target: Path, captions: bool | None = None) -> None:
    """Draw detections on their image and save it; the suffix says the format. Raises CliError when that fails.

    `captions`: as in cli.drawing.
    """
    try:
        picture = draw_detections(upright(found.path.read_bytes()), found.detections, captions)
        target.parent.mkdir(parents=True, exist_ok=True)
        picture.save(target, quality=92, subsampling=0)  # thin lines keep their color
    except (ImageRefused, OSError, ValueError) as error:
        raise CliError(
            f"{found.path} cannot be drawn: {error}", "Use --json for the boxes without a picture."
        ) from error


def picture_names(paths: list[Path], folder: Path) -> Iterator[Path]:
    """A name in `folder` for each picture: never an image's own, and no name twice."""
    used: set[str] = set()
    for path in paths:
        name, number = f"{path.stem}-detections.jpg", 2
        while name.lower() in used:
            name, number = f"{path.stem}-{number}-detections.jpg", number + 1
        used.add(name.lower())
        yield folder / name
