"""From a path to flights: which files are images, which flight each belongs to, and which key it gets.

A flight is a folder that directly contains images. This module reads the disk and calls no service.
"""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from skyloop.layout import MAX_KEY_BYTES, RAW_IMAGES

from cli.errors import CliError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".dng"})
BY_PRODUCTS = (
    "._*",  # what macOS keeps beside a file on a disk that is not its own
    "__macosx",
    "@eadir",  # Synology: thumbnails, in a folder that is named like the picture
    "synophoto_*",
    "@tmp",
    "#recycle",
    "#snapshot",
    "@recycle",  # QNAP
    "@recently-snapshot",
    "$recycle.bin",
    "system volume information",
    "thumbs.db",
    "ehthumbs*.db",
    "desktop.ini",
    "lost+found",
    "*.lrdata",  # Lightroom: previews, small .dng files among them
)
"""Names, in lower case, of what file systems and programs leave beside pictures; hidden names come to these."""
OTHER_PICTURES = frozenset(
    {".gif", ".heic", ".heif", ".hif", ".avif", ".jxl", ".jp2", ".psd", ".svg"}
    | {".arw", ".cr2", ".cr3", ".nef", ".orf", ".raf", ".raw", ".rw2", ".pef", ".srw"}
)
"""What people hold for pictures, and nothing here reads."""
SHOWN_NAMES = 6


@dataclass(frozen=True)
class Image:
    """One file of a drop: where it is, and its name inside the flight (`raw-images/<flight>/<name>`)."""

    path: Path
    flight: str
    name: str

    @property
    def key(self) -> str:
        """The S3 key, exactly as the file is named: no quoting, no case folding."""
        return f"{RAW_IMAGES}{self.flight}/{self.name}"


@dataclass(frozen=True)
class Drop:
    """The images below a path, with their flights, and what was left out: by-products by name, other files with why.

    `refused` maps the images whose name cannot be a key to why; they do not stop the others.
    """

    root: Path
    images: list[Image]
    other_files: dict[str, str] = field(default_factory=dict)
    by_products: dict[str, int] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def flights(self) -> list[str]:
        """Names of the flights, each once, sorted."""
        return sorted({image.flight for image in self.images})


def checked_flight_name(name: str) -> str:
    """The name, when it can be one segment of a key. Raises CliError otherwise."""
    bad = name in {"", ".", ".."} or "/" in name or "\\" in name or len(os.fsencode(name)) > 200
    if bad or any(unicodedata.category(character) in {"Cc", "Cs"} for character in name):
        raise CliError(
            f"{name!a} cannot be the name of a flight.",
            "Pass --flight NAME: one to 200 bytes of UTF-8, without / or \\ or control characters, and not . or ..",
        )
    return name


def _folder_name(folder: Path) -> str:
    """The name that a folder gives to its flight; a folder called `images` takes its parent's."""
    folder = folder.resolve()
    return folder.parent.name if folder.name.lower() == "images" and folder.parent.name else folder.name


def _is_image(path: Path) -> bool:
    """Whether it is an image by its name. A pipe would keep its reader waiting; a broken link is told by its reader."""
    return path.suffix.lower() in IMAGE_SUFFIXES and (path.is_file() or not path.exists())


def _flight_of(root: Path, base: str, folder: Path) -> str:
    """`base` for the root itself, `base-sub-subsub` below it; a last part called `images` is left out."""
    parts = list(folder.relative_to(root).parts)
    if parts and parts[-1].lower() == "images":
        parts.pop()
    return "-".join([base, *parts])


def _by_product(name: str) -> str | None:
    """What a by-product is called in a report: its name, or the pattern that many names have; None for what is none.

    Hidden names are by-products. `..jpg` is an odd name, not a hidden one.
    """
    if pattern := next((pattern for pattern in BY_PRODUCTS if fnmatchcase(name.lower(), pattern)), None):
        return pattern if "*" in pattern else name
    return name if name.startswith(".") and not name.startswith("..") else None


@dataclass
class Search:
    """What a folder holds: the images of each folder, other files with why they are none, by-products by their name.

    A folder that is a by-product counts as one, and is not looked into.
    """

    folders: dict[Path, list[Path]] = field(default_factory=dict)
    other_files: dict[str, str] = field(default_factory=dict)
    by_products: Counter[str] = field(default_factory=Counter)

    @property
    def images(self) -> list[Path]:
        """All images, sorted."""
        return sorted(image for images in self.folders.values() for image in images)


def search_images(root: Path) -> Search:
    """Look for images in a folder and below it. Links to folders are not followed: no loops, no way out.

    The folder itself is meant, whatever its name is.
    """
    found = Search()
    for place, directories, files in os.walk(root):
        found.by_products.update(name for item in (*directories, *files) if (name := _by_product(item)))
        directories[:] = sorted(name for name in directories if not _by_product(name))
        own = [Path(place, name) for name in sorted(files) if not _by_product(name)]
        images = [path for path in own if _is_image(path)]
        found.other_files |= {str(path): _why_no_image(path) for path in sorted({*own} - {*images})}
        if images:
            found.folders[Path(place)] = images
    return found


def _why_no_image(path: Path) -> str:
    """Why a file is not taken for an image."""
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return "no regular file"
    return f"{suffix} is not read, make a JPEG or PNG of it" if suffix in OTHER_PICTURES else "no image by its name"


def other_files_sentence(other_files: Mapping[str, str]) -> str:
    """How many other files were left out, and the first of them with why: what somebody may miss comes first."""
    by_worth = sorted(other_files.items(), key=lambda item: (item[1] == "no image by its name", item[0]))
    named = ", ".join(f"{Path(path).name} ({why})" for path, why in by_worth[:SHOWN_NAMES])
    more = f" and {len(other_files) - SHOWN_NAMES} more" if len(other_files) > SHOWN_NAMES else ""
    return f"Left out: {len(other_files)} other files: {named}{more}."


def by_products_sentence(by_products: Mapping[str, int]) -> str:
    """How many by-products were left out, and how they are called."""
    names = sorted(by_products)
    named = ", ".join(names[:SHOWN_NAMES]) + (f" and {more} more" if (more := len(names) - SHOWN_NAMES) > 0 else "")
    return f"Left out as hidden or as by-products of other programs: {sum(by_products.values())} ({named})."


def _why_no_key(image: Image) -> str | None:
    """Why an image cannot have its key; None when it can."""
    try:
        checked_flight_name(image.flight)
        length = len(image.key.encode())
    except CliError as error:
        return error.what
    except UnicodeEncodeError:
        return "its name is not valid UTF-8"
    return f"its key is {length} bytes long; S3 takes {MAX_KEY_BYTES}" if length > MAX_KEY_BYTES else None


def _images_below(path: Path, base: str, folders: dict[Path, list[Path]]) -> list[Image]:
    images: list[Image] = []
    used: set[str] = set()
    for folder, files in folders.items():
        name = _flight_of(path, base, folder)
        for file in files:
            image = Image(file, name, file.name)
            if image.key in used:  # two folders are one flight (x and x/images): keep their files apart
                image = Image(file, name, "/".join(file.relative_to(path).parts))
            used.add(image.key)
            images.append(image)
    return images


def plan_drop(path: Path, flight: str | None = None) -> Drop:
    """The flights and images of a path.

    A file is a drop of one image, even when its name is not an image's. A folder is searched with its sub-folders; each
    folder with images is a flight, `<name>` for the folder itself and `<name>-<sub-folder>` below it. `flight` replaces
    `<name>`. Raises CliError when there is nothing to drop, and when no image's name can be a key.
    """
    if not path.exists():
        raise CliError(f"There is no {path}.", "Pass an image, or a folder of images.")
    notes: list[str] = []
    found = Search()
    if path.is_file():
        base = checked_flight_name(flight or _folder_name(path.resolve().parent))
        if not _is_image(path):
            notes.append(f"{path.name} is not an image by its name; the pipeline decides.")
        root, images = path.parent, [Image(path, base, path.name)]
    else:
        base = checked_flight_name(flight or _folder_name(path))
        found = search_images(path)
        root, images = path, _images_below(path, base, found.folders)
        if not images:
            left_out = f" {other_files_sentence(found.other_files)}" if found.other_files else ""
            left_out += f" {by_products_sentence(found.by_products)}" if found.by_products else ""
            raise CliError(
                f"{path} holds no images.{left_out}",
                f"Images end in {', '.join(sorted(IMAGE_SUFFIXES))}; sub-folders are searched.",
            )
    refused = {image.path: why for image in images if (why := _why_no_key(image))}
    if len(refused) == len(images):
        first, why = next(iter(refused.items()))
        raise CliError(f"{first} cannot be dropped: {why}", "Rename it.")
    kept = [image for image in images if image.path not in refused]
    unnamed = {str(place): why for place, why in refused.items()}
    return Drop(root, kept, found.other_files, dict(found.by_products), unnamed, notes)
