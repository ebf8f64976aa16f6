"""Damage a file as transfers, cameras and attackers do. Everything derives from a seed and a number."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable, Sequence

INTERESTING = (b"\x00", b"\xff", b"\x7f", b"\x80", b"\xff\xff", b"\x00\x00", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff")
WORDS = (
    b"null", b"NaN", b"Infinity", b"-0", b"1e999", b"9" * 400, b"{}", b"[]", b'""', b'"\\ud800"', b"true", b"[" * 2000,
    b'{"a":' * 2000,
    b"0001-01-01T00:00:00+14:00", b"9999-12-31T23:59:59-14:00", b"-1", b"0.0", b"\xef\xbb\xbf", b"\x00",
    b"../../..", b"s3://", b"\xf0\x9f\x99\x82", b"\xed\xa0\x80",
)  # fmt: skip
LARGEST = 400_000  # bytes of a mutated input: the parsers are tried, not the network

Mutation = Callable[[random.Random, bytearray, Sequence[bytes]], None]


def flip(chance: random.Random, body: bytearray, _: Sequence[bytes]) -> None:
    """Some bits."""
    for _number in range(chance.choice((1, 1, 2, 8, 64))):
        body[chance.randrange(len(body))] ^= 1 << chance.randrange(8)


def overwrite(chance: random.Random, body: bytearray, _: Sequence[bytes]) -> None:
    """Bytes that lengths and counters stumble over."""
    value = chance.choice(INTERESTING)
    at = chance.randrange(len(body))
    body[at : at + len(value)] = value


def truncate(chance: random.Random, body: bytearray, _: Sequence[bytes]) -> None:
    """The end is missing."""
    del body[chance.randrange(len(body)) :]


def remove(chance: random.Random, body: bytearray, _: Sequence[bytes]) -> None:
    """A piece is missing."""
    at = chance.randrange(len(body))
    del body[at : at + chance.choice((1, 2, 16, 512))]


def repeat(chance: random.Random, body: bytearray, _: Sequence[bytes]) -> None:
    """A piece comes again, and again."""
    at = chance.randrange(len(body))
    piece = bytes(body[at : at + chance.choice((1, 12, 64, 1024))])
    body[at:at] = piece * chance.choice((1, 3, 50))


def splice(chance: random.Random, body: bytearray, others: Sequence[bytes]) -> None:
    """A piece of another file."""
    other = chance.choice(others)
    start = chance.randrange(len(other))
    body[chance.randrange(len(body)) : chance.randrange(len(body) + 1)] = other[start : start + chance.randrange(4096)]


def word(chance: random.Random, body: bytearray, _: Sequence[bytes]) -> None:
    """A word that parsers stumble over, in the place of another or between two."""
    at = chance.randrange(len(body))
    end = at + chance.choice((0, 1, 4, 20))
    body[at:end] = chance.choice(WORDS)


def dimension(chance: random.Random, body: bytearray, _: Sequence[bytes]) -> None:
    """Another size in a JPEG's frame or a PNG's header, whose checksum is right again."""
    width, height = (chance.choice((0, 1, 9, 10, 640, 9_999, 30_000, 65_535)) for _ in range(2))
    frame = body.find(b"\xff\xc0")
    if frame >= 0 and len(body) > frame + 9:
        body[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    elif body[12:16] == b"IHDR" and len(body) > 33:
        body[16:24] = struct.pack(">II", width, height)
        body[29:33] = struct.pack(">I", zlib.crc32(body[12:29]))


MUTATIONS: tuple[Mutation, ...] = (flip, overwrite, truncate, remove, repeat, splice, word, dimension)


def mutated(seed: int, number: int, corpus: Sequence[bytes]) -> bytes:
    """The input of a number: a file of the corpus with one to four mutations."""
    chance = random.Random(f"{seed}/{number}")
    body = bytearray(chance.choice(corpus))
    for _ in range(chance.choice((1, 1, 2, 4))):
        if body:
            chance.choice(MUTATIONS)(chance, body, corpus)
    return bytes(body[:LARGEST])
