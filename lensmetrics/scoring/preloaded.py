"""What a worker does before its first pair, done once in the process from which all workers are forked.

Importing Numba and filling its tables takes about a second of a core. The process imports this module before
it forks anything.
"""

import contextlib
import gc

gc.disable()  # imports make no garbage
with contextlib.suppress(Exception):  # a worker meets the same error, and there is somebody to tell
    import numpy as np

    from ..pairs.mappair import MapPair
    from . import worker  # noqa: F401

    MapPair(np.zeros((2, 2), np.float32), np.zeros((2, 2), np.float32))  # the first call of any kernel
gc.freeze()  # workers share this memory as long as nobody touches it
gc.enable()
