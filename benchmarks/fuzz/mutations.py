"""Damage bytes at random, optionally so that HDF5's own checksums do not notice."""

import itertools
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import numpy.typing as npt
from numba import njit

# What a reader gets wrong first: 0, the ends of the integer types, small and large lengths.
_WORDS = [
    *(bytes([value]) for value in (0, 1, 2, 3, 4, 8, 0x10, 0x20, 0x40, 0x7F, 0x80, 0xFE, 0xFF)),
    *(
        value.to_bytes(size, "little")
        for size in (2, 4, 8)
        for value in (0, 1, 2, 16, 255, 4096, 2 ** (8 * size - 1) - 1, 2 ** (8 * size - 1), 256**size - 1)
    ),
]
# The structures of HDF5 that carry a checksum of themselves, by their first bytes.
_SIGNATURES = (b"\x89HDF", b"OHDR", b"OCHK", b"FRHP", b"FHIB", b"BTHD", b"BTIN", b"BTLF", b"FAHD", b"FADB")
_LARGEST_STRUCTURE = 2048
_HEAP_BLOCK = b"FHDB"

Span = tuple[int, int]


class Sealed(NamedTuple):
    """A structure of an HDF5 file, and the place of the checksum of its bytes: behind them or among them."""

    start: int
    stop: int
    place: int


def mutate(rng: random.Random, data: bytes, spans: Sequence[Span], sealed: Sequence[Sealed]) -> bytes:
    """Return the data with one to four damages.

    Parameters
    ----------
    spans
        Where bytes are changed, moved, or where the data is cut.
    sealed
        The structures of an HDF5 file that have a checksum: those of changed structures are mostly
        corrected, if everything kept its place.
    """
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        start, stop = rng.choice(spans)
        at = rng.randrange(start, max(start + 1, min(stop, len(changed))))
        _damage(rng, changed, at)
    if rng.random() < 0.6 and len(changed) == len(data):
        for structure in sealed:
            if changed[structure.start : structure.stop] != data[structure.start : structure.stop]:
                seal(changed, structure)
    return bytes(changed)


def _damage(rng: random.Random, data: bytearray, at: int) -> None:
    kind = rng.random()
    if not data:
        return
    at = min(at, len(data) - 1)
    if kind < 0.35:
        data[at] ^= 1 << rng.randrange(8)
    elif kind < 0.45:
        data[at] = rng.randrange(256)
    elif kind < 0.75:
        word = rng.choice(_WORDS)
        data[at : at + len(word)] = word[: len(data) - at]
    elif kind < 0.85:  # a small step, as for a size that is off by one
        data[at] = (data[at] + rng.choice((-1, 1))) % 256
    elif kind < 0.93:
        length = min(rng.choice((1, 4, 8, 16, 64, 512)), len(data) - at)
        origin = rng.randrange(len(data) - length + 1)
        data[at : at + length] = data[origin : origin + length]
    elif kind < 0.95:
        del data[at:]
    elif kind < 0.97:
        del data[at : at + rng.choice((1, 4, 8, 64))]
    else:
        origin = rng.randrange(len(data))
        data[at:at] = data[origin : origin + rng.choice((1, 4, 8, 64))]


def metadata_mask(path: Path) -> npt.NDArray[np.bool_]:
    """Return which bytes of an HDF5 file are not values of datasets in its root group."""
    mask = np.ones(path.stat().st_size, np.bool_)
    with h5py.File(path) as file:
        for dataset in file.values():
            if dataset.chunks is not None:
                chunks = [dataset.id.get_chunk_info(i) for i in range(dataset.id.get_num_chunks())]
                ranges = [(chunk.byte_offset, chunk.size) for chunk in chunks]
            else:
                ranges = [(dataset.id.get_offset() or 0, dataset.id.get_storage_size())]
            for start, length in ranges:
                mask[start : start + length] = False
    return mask


def sealed_structures(data: bytes) -> list[Sealed]:
    """Find the structures of an HDF5 file that have a checksum, by trying where it could be."""
    array = np.frombuffer(data, np.uint8)
    found = []
    for signature in _SIGNATURES:
        for start in _places(data, signature):
            place = _checksum_place(array, start, min(start + _LARGEST_STRUCTURE, len(data) - 4))
            if place:
                found.append(Sealed(start, place, place))
    for start in _places(data, _HEAP_BLOCK):
        for place, size in itertools.product(range(start + 14, start + 22), (512, 1024, 2048, 4096)):
            if start + size > len(data):
                continue
            again = bytearray(data)
            seal(again, Sealed(start, start + size, place))
            if again == data:
                found.append(Sealed(start, start + size, place))
    return sorted(found)


def _places(data: bytes, signature: bytes) -> Iterator[int]:
    at = data.find(signature)
    while at >= 0:
        yield at
        at = data.find(signature, at + 1)


def seal(data: bytearray, structure: Sealed) -> None:
    """Put the checksum in that HDF5 would store for the bytes of a structure."""
    start, stop, place = structure
    if place < stop:
        data[place : place + 4] = bytes(4)
    array = np.frombuffer(bytes(data[start:stop]), np.uint8)
    data[place : place + 4] = int(_lookup3(array, 0, len(array))).to_bytes(4, "little")


@njit(cache=True)
def _checksum_place(data: npt.NDArray[np.uint8], start: int, stop: int) -> int:
    for end in range(start + 8, stop):
        stored = 0
        for i in range(4):
            stored |= int(data[end + i]) << (8 * i)
        if _lookup3(data, start, end) == stored:
            return end
    return 0


@njit(cache=True)
def _lookup3(data: npt.NDArray[np.uint8], start: int, stop: int) -> int:
    """Bob Jenkins' hash, https://burtleburtle.net/bob/c/lookup3.c, as H5_checksum_lookup3 computes it."""
    mask = 0xFFFFFFFF
    a = b = c = (0xDEADBEEF + stop - start) & mask
    while stop - start > 12:
        a = (a + _word(data, start, stop)) & mask
        b = (b + _word(data, start + 4, stop)) & mask
        c = (c + _word(data, start + 8, stop)) & mask
        a = ((a - c) & mask) ^ _rotated(c, 4)
        c = (c + b) & mask
        b = ((b - a) & mask) ^ _rotated(a, 6)
        a = (a + c) & mask
        c = ((c - b) & mask) ^ _rotated(b, 8)
        b = (b + a) & mask
        a = ((a - c) & mask) ^ _rotated(c, 16)
        c = (c + b) & mask
        b = ((b - a) & mask) ^ _rotated(a, 19)
        a = (a + c) & mask
        c = ((c - b) & mask) ^ _rotated(b, 4)
        b = (b + a) & mask
        start += 12
    if start == stop:
        return c
    a = (a + _word(data, start, stop)) & mask
    b = (b + _word(data, start + 4, stop)) & mask
    c = (c + _word(data, start + 8, stop)) & mask
    c = ((c ^ b) - _rotated(b, 14)) & mask
    a = ((a ^ c) - _rotated(c, 11)) & mask
    b = ((b ^ a) - _rotated(a, 25)) & mask
    c = ((c ^ b) - _rotated(b, 16)) & mask
    a = ((a ^ c) - _rotated(c, 4)) & mask
    b = ((b ^ a) - _rotated(a, 14)) & mask
    return ((c ^ b) - _rotated(b, 24)) & mask


@njit(cache=True)
def _word(data: npt.NDArray[np.uint8], start: int, stop: int) -> int:
    """Return up to four bytes as one number, the first as its lowest."""
    word = 0
    for i in range(min(4, max(0, stop - start))):
        word |= int(data[start + i]) << (8 * i)
    return word


@njit(cache=True)
def _rotated(word: int, n: int) -> int:
    return ((word << n) | (word >> (32 - n))) & 0xFFFFFFFF
