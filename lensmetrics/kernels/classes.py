"""Sort a map of few different values: sort the values, and count the pixels of each."""

import numpy as np

from .compiling import njit

# A sample of so many pixels decides whether a map is expected to have at most so many different values.
_SAMPLE = np.uint64(512)
_FEW = 2048

_ONE = np.uint64(1)
_2 = np.uint64(2)
_64 = np.uint64(64)
# 2**64 over the golden ratio. All bits of a key reach the top bits of its product with it; lower bits do not
# depend on the top bits of the key, and small integers in float64 differ only there.
_HASH = np.uint64(0x9E3779B97F4A7C15)


@njit(nogil=True, cache=True)
def _shift(mask):
    """Return by how much to shift a word so that as many bits are left as the mask has."""
    shift = _64
    while mask >> (_64 - shift) > 0:
        shift -= _ONE
    return shift


@njit(nogil=True, cache=True)
def seem_few(bits, seen):
    """Guess from a sample whether a map has few different values, by Chao's estimate of classes unseen.

    `bits` are those of the floats; of float64, only the upper ones count. `seen` (2, 1024) is scratch.
    """
    mask = _SAMPLE * _2 - _ONE
    shift = _shift(mask)
    for i in range(mask + _ONE):
        seen[0, i] = 0
        seen[1, i] = 0
    dropped = np.uint64(0 if bits.itemsize == 4 else 28)
    # Odd, so that the sample is not taken from a few columns.
    step = (np.uint64(bits.size) // _SAMPLE - _ONE) | _ONE
    n_values = np.int64(0)
    n_once = np.int64(0)
    n_twice = np.int64(0)
    for i in range(_SAMPLE):
        key = (np.uint64(bits[i * step]) >> dropped) + _ONE
        slot = key * _HASH >> shift
        while seen[0, slot] != 0 and seen[0, slot] != key:
            slot = (slot + _ONE) & mask
        seen[0, slot] = key
        times = np.int64(seen[1, slot])
        seen[1, slot] = times + 1
        n_values += np.int64(times == 0)
        n_once += np.int64(times == 0) - np.int64(times == 1)
        n_twice += np.int64(times == 1) - np.int64(times == 2)
    return n_values + n_once * (n_once - 1) // (2 * n_twice + 2) <= _FEW


@njit(nogil=True, cache=True)
def classify(values, bits, slots, keys, classes, sizes, examples):
    """Write the class of every pixel, of those with its value; return the number of classes.

    Return -1 where there are more than `examples` has places for the values of the classes. Rows of
    `sizes` are the sizes of the classes in the first half of the map and in the second. `slots`, of which
    there are a power of two and more than classes, and `keys` are scratch.
    """
    unit = bits.dtype.type
    sign = unit(1) << unit(8 * bits.itemsize - 1)
    magnitude = unit(~sign)
    mask = np.uint64(slots.size - 1)
    shift = _shift(mask)
    for i in range(slots.size):
        slots[i] = 0
    n_classes = np.uint64(0)
    half = bits.size // 2
    for i in range(bits.size):
        key = bits[i] if bits[i] > sign else unit(~bits[i] & magnitude)
        slot = np.uint64(key) * _HASH >> shift
        while slots[slot] != 0 and keys[np.uint64(slots[slot]) - _ONE] != key:
            slot = (slot + _ONE) & mask
        if slots[slot] == 0:
            if n_classes == np.uint64(examples.size):
                return -1
            keys[n_classes] = key
            examples[n_classes] = values[i]
            sizes[0, n_classes] = 0
            sizes[1, n_classes] = 0
            n_classes += _ONE
            slots[slot] = n_classes
        found = np.uint64(slots[slot]) - _ONE
        classes[i] = found
        sizes[np.uint64(i >= half), found] += np.uint32(1)
    return np.int64(n_classes)


@njit(nogil=True, cache=True)
def merge_classes(classes, sizes, class_order, order, groups):
    """Do what `order.sort` does with the classes of `classify` and their order, largest value first.

    Leave in `sizes` something else.
    """
    one = np.uint32(1)
    n_groups = 0
    start = np.uint32(0)
    for i in range(class_order.size):
        j = np.uint64(class_order[i])
        first = sizes[0, j]
        size = first + sizes[1, j]
        if size > one:
            groups[n_groups, 0] = start
            groups[n_groups, 1] = start + size
            n_groups += 1
        sizes[0, j] = start
        sizes[1, j] = start + first
        start += size
    # Both halves of the map in turn: each pixel of a class takes the place behind the one before, and
    # neighbours are often of one class.
    first_places = sizes[0]
    second_places = sizes[1]
    half = classes.size // 2
    for i in range(half):
        found = np.uint64(classes[i])
        place = first_places[found]
        order[place] = i
        first_places[found] = place + one
        found = np.uint64(classes[half + i])
        place = second_places[found]
        order[place] = half + i
        second_places[found] = place + one
    if classes.size % 2:
        order[second_places[np.uint64(classes[classes.size - 1])]] = classes.size - 1
    return n_groups
