"""What the catalogue keeps about a picture file."""

from __future__ import annotations

import hashlib
from typing import Literal, cast

from skyloop.documents import ImageFacts
from skyloop.formats.pictures import Picture, open_picture


def check_image(body: bytes) -> ImageFacts:
    """Decode the whole file and say what the catalogue keeps about it. The file's name does not matter, only its bytes.

    Raises ImageRefused.
    """
    picture = open_picture(body)
    picture.decode()
    return read_facts(picture, body)


def read_facts(picture: Picture, body: bytes) -> ImageFacts:
    """What a picture's header says, and the hash of the whole file. Decodes nothing."""
    return ImageFacts(
        image_id=hashlib.sha256(body).hexdigest(),
        width=picture.width,
        height=picture.height,
        bytes=len(body),
        # Only these are opened for labeling.
        format=cast("Literal['JPEG', 'PNG']", picture.format),
        orientation=picture.exif.orientation,
        captured_at=picture.exif.captured_at,
        latitude=picture.exif.latitude,
        longitude=picture.exif.longitude,
    )
