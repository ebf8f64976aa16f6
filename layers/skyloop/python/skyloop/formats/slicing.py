"""Cut large pictures into overlapping tiles, and decide which box belongs to which tile.

A detector that sees a 100-megapixel orthophoto shrunk to 640 pixels finds nothing: small objects need their pixels.
"""

from __future__ import annotations

from skyloop.formats.geometry import Rectangle

OVERLAP = 0.2
"""Share of a tile's side that neighbors have in common, at least. Objects smaller than this are whole somewhere."""

MIN_VISIBLE = 0.5
"""A box is repeated in every tile that shows at least this share of it."""


def plan_tiles(width: int, height: int, side: int, overlap: float = OVERLAP) -> list[Rectangle]:
    """Tiles that cover a picture, row by row: none larger than `side` pixels, none reaching outside.

    A picture that fits one tile is one tile. Tiles of one picture are equally large and spread evenly, so that the
    last of a row is no sliver. `overlap` is a share of the side, 0 ≤ overlap < 1.
    """
    return [
        Rectangle(left, top, min(side, width), min(side, height))
        for top in _starts(height, side, overlap)
        for left in _starts(width, side, overlap)
    ]


def share_boxes(boxes: list[Rectangle], tiles: list[Rectangle]) -> list[list[tuple[int, Rectangle]]]:
    """For each tile: (index of the box, the part of it that shows, in the tile's own pixels).

    A box goes to every tile that shows at least half of it and, so that no object is lost however large it is, to the
    tile that shows most of it.
    """
    shared: list[list[tuple[int, Rectangle]]] = [[] for _ in tiles]
    for index, box in enumerate(boxes):
        parts = [(number, part) for number, tile in enumerate(tiles) if (part := box.shared_with(tile))]
        if not parts:
            continue
        best = max(parts, key=lambda numbered: numbered[1].area)[0]
        for number, part in parts:
            if number == best or part.area >= MIN_VISIBLE * box.area:
                shared[number].append((index, part.moved(-tiles[number].left, -tiles[number].top)))
    return shared


def _starts(length: int, side: int, overlap: float) -> list[int]:
    """Where tiles begin along one side."""
    if length <= side:
        return [0]
    step = max(1, int(side * (1 - overlap)))
    gaps = -(-(length - side) // step)
    return [round(number * (length - side) / gaps) for number in range(gaps + 1)]
