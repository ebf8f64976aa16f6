"""All that the laptop cloud knows of Skyloop, the product that it runs.

Nothing else below `laptop` imports `skyloop` or names `training_container`: for another product, this module changes
and nothing else does.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path

from skyloop import layout
from skyloop.formats.coco import Identifier, read_coco
from skyloop.formats.geometry import Rectangle
from skyloop.formats.groundtruth import LabeledBox

__all__ = ["LabeledBox", "Rectangle"]

# ── Where things are on this machine ─────────────────────────────────────────────────────────────────────────────────

REPOSITORY = Path(__file__).resolve().parents[1]
TEMPLATE = REPOSITORY / "template.yaml"
SAMCONFIG = REPOSITORY / "samconfig.toml"
DEFAULT_HOME = REPOSITORY / ".skyloop"

# ── Names ────────────────────────────────────────────────────────────────────────────────────────────────────────────

COMMAND = "skyloop"
"""What a person types; errors name the command to run next."""

DEFAULT_STACK_NAME = "skyloop-dev"
ARTIFACT_BUCKET = "skyloop-laptop-artifacts"
"""Takes zips and definitions at deployment; only the laptop cloud has it."""

# ── The container image ──────────────────────────────────────────────────────────────────────────────────────────────

_IMAGES = ("skyloop-training", "skyloop-serving")
"""Two targets of one Dockerfile, which start the same program."""
_IMAGE_FOLDER = REPOSITORY / "training_container"

CONTAINER_ENVIRONMENT = {"SKYLOOP_BIND_HOST": "127.0.0.1"}
"""What an endpoint's process gets besides SageMaker's own variables: on AWS it must listen on every interface."""


def image_folder(repository: str) -> Path | None:
    """The folder with an image's Dockerfile, by the image's repository (`team/name`); None for another project's."""
    return _IMAGE_FOLDER if repository.rpartition("/")[2].endswith(_IMAGES) else None


# ── Images that lie in a folder instead of a bucket ──────────────────────────────────────────────────────────────────


def drop_again(bucket: Path) -> str:
    """A sentence, after a blank, that says how to drop the images in a bucket's folder again; empty without images."""
    images = bucket / layout.RAW_IMAGES
    if not images.is_dir():
        return ""
    flights = sorted(folder.name for folder in images.iterdir() if folder.is_dir())
    return (
        f" Drop its images again, flight by flight: `{COMMAND} drop {shlex.quote(str(images))}/FLIGHT` for "
        f"{', '.join(flights)}."
    )


# ── Boxes that are known when images are dropped ─────────────────────────────────────────────────────────────────────

KNOWN_BOXES = layout.KNOWN_BOXES
known_boxes_key = layout.known_boxes_key


def flight_and_path(key: str) -> tuple[str, str] | None:
    """The flight of a raw image and the image's path in it; None for a key outside of any flight."""
    flight, slash, path = key.removeprefix(layout.RAW_IMAGES).partition("/")
    return (flight, path) if slash and key.startswith(layout.RAW_IMAGES) else None


@dataclass
class KnownFlight:
    """The known boxes of one flight: by path in the flight, by bare file name, and by the image's SHA-256.

    Under a path lie the boxes of each content that was dropped there; None is a content that the file does not name,
    as files that came about otherwise, or by an earlier version, do not.
    """

    by_path: dict[str, dict[str | None, list[LabeledBox]]] = field(default_factory=dict)
    by_name: dict[str, list[str]] = field(default_factory=dict)
    by_content: dict[str, list[LabeledBox]] = field(default_factory=dict)

    @classmethod
    def parse(cls, body: bytes) -> KnownFlight:
        """Read the COCO file of a flight, as `skyloop drop` writes it. Raises ValueError for what is no such file."""
        coco = read_coco(body)
        flight = cls()
        categories = {category.id: category.name for category in coco.categories}
        boxes: dict[Identifier, list[LabeledBox]] = {}
        for image in coco.images:
            path = image.file_name.replace("\\", "/").removeprefix("./")
            boxes[image.id] = []
            if path not in flight.by_path:
                flight.by_name.setdefault(path.rpartition("/")[2], []).append(path)
            flight.by_path.setdefault(path, {})[image.sha256 or None] = boxes[image.id]
            if image.sha256:
                flight.by_content[image.sha256] = boxes[image.id]
        for annotation in coco.annotations:
            rectangle = Rectangle(*annotation.bbox)
            if rectangle.area > 0 and not annotation.iscrowd:
                boxes[annotation.image_id].append(LabeledBox(categories[annotation.category_id], rectangle))
        return flight

    def find(self, flight: str, path: str, content: str | None = None) -> list[LabeledBox] | None:
        """The boxes of the image at a path, or of any that was there for a caller that does not know its SHA-256.

        Other bytes under the path are another picture: the boxes of the one that was dropped there are not its own.
        """
        known = self._at(flight, path)
        return known.get(content, known.get(None)) if content else next(iter(known.values()), None)

    def _at(self, flight: str, path: str) -> dict[str | None, list[LabeledBox]]:
        """By the path in the flight, else with the folders above it, else by a file name that only one image has."""
        for candidate in (path, f"{flight}/{path}", f"{layout.RAW_IMAGES}{flight}/{path}"):
            if candidate in self.by_path:
                return self.by_path[candidate]
        same_name = self.by_name.get(path.rpartition("/")[2], [])
        # A bare name may stand for a nested image; a path that differs is another image of the same name.
        if len(same_name) == 1 and ("/" not in same_name[0] or "/" not in path):
            return self.by_path[same_name[0]]
        return {}
