"""Counting the bits of a word."""

import numpy as np

from .compiling import njit


@njit(nogil=True, cache=True)
def n_ones(word):
    """Return the number of bits set in a uint64."""
    # Sum neighbouring bits, pairs, nibbles, bytes: compilers turn this into one instruction.
    word -= (word >> np.uint64(1)) & np.uint64(0x5555555555555555)
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (word * np.uint64(0x0101010101010101)) >> np.uint64(56)
