"""Turn bytes into pixels, in one way for the endpoint, the evaluation and the exporter, and refuse what is no image.

Boxes everywhere in Skyloop are in *displayed* pixels: EXIF orientation is applied here, as Ultralytics' own loader does
in training (whose images have it baked in already by convert_labels).
"""

import io
import warnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

MAX_PIXELS = 100_000_000  # Ground Truth's own limit: a model never learned from larger ones
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")  # JPEG includes MPO, which many drone cameras write

Image.MAX_IMAGE_PIXELS = MAX_PIXELS  # Pillow warns above it and raises above twice that; decode() refuses both


class ImageError(ValueError):
    """The bytes are not an image that can be used. The text tells the sender why."""


def decode(data: bytes) -> np.ndarray:
    """Decode an image file to RGB, orientation applied.

    Args:
        data: the content of a JPEG, PNG, WebP, BMP or TIFF file (its first picture).

    Returns:
        (height, width, 3) uint8, contiguous. 16-bit gray is scaled to 8 bits; transparency is dropped.

    Raises:
        ImageError: empty, unknown format, truncated, damaged, or more than 100 megapixels. The size is judged from the
            header, before any pixel is decoded, so a decompression bomb costs no memory.
    """
    if not data:
        raise ImageError("The body is empty; send the bytes of an image.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                return _to_rgb(ImageOps.exif_transpose(image))
    except UnidentifiedImageError as error:
        raise ImageError("The body is not an image in a known format (JPEG, PNG, WebP, BMP, TIFF).") from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise ImageError(f"The image claims more than {MAX_PIXELS // 1_000_000} megapixels.") from error
    except (OSError, SyntaxError, ValueError, EOFError, TypeError) as error:  # Pillow's decoders raise all of these
        raise ImageError(f"The image is damaged or cut short: {error}.") from error


def count_pixels(data: bytes) -> int:
    """How many pixels an image file claims to have, by its header alone; 0 where `decode` will refuse it."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return image.width * image.height
    except Exception:
        return 0


def _to_rgb(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I;16"):  # Pillow would clip 16-bit gray (thermal cameras) instead of scaling it
        gray = (np.asarray(image) >> 8).astype(np.uint8)
        return np.ascontiguousarray(np.repeat(gray[..., None], 3, axis=2))
    return np.array(image.convert("RGB"))
