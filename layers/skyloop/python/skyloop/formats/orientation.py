"""Apply the EXIF orientation to boxes, as `pictures` does to pixels, so that no later reader has to know the tag.

Workers see and label the stored pixels, while OpenCV and Ultralytics turn the picture as the tag says: unless it is
applied to both, labels and pictures disagree. Orientation values: Exif 2.32, tag 274 (0x0112).
"""

from __future__ import annotations

from skyloop.formats.geometry import Rectangle


def upright_size(width: int, height: int, orientation: int) -> tuple[int, int]:
    """The size of the upright picture in pixels, from the stored size; 5 to 8 exchange width and height."""
    return (height, width) if orientation >= 5 else (width, height)


def upright_box(box: Rectangle, width: int, height: int, orientation: int) -> Rectangle:
    """A box on the stored picture (of size `width` × `height`) as it lies on the upright one, in pixels.

    Raises ValueError when `orientation` is not 1 to 8.
    """
    from_right, from_bottom = width - box.right, height - box.bottom
    match orientation:
        case 1:
            return box
        case 2:
            return Rectangle(from_right, box.top, box.width, box.height)
        case 3:
            return Rectangle(from_right, from_bottom, box.width, box.height)
        case 4:
            return Rectangle(box.left, from_bottom, box.width, box.height)
        case 5:
            return Rectangle(box.top, box.left, box.height, box.width)
        case 6:
            return Rectangle(from_bottom, box.left, box.height, box.width)
        case 7:
            return Rectangle(from_bottom, from_right, box.height, box.width)
        case 8:
            return Rectangle(box.top, from_right, box.height, box.width)
    raise ValueError(f"EXIF orientation is 1 to 8, not {orientation}")
