"""LATEC's arrays (N, explanation, channel, height, width), of which one explanation makes a pair file.

LATEC's ``explain`` saves the maps of its three models as ``arr_0``, ``arr_1`` and ``arr_2`` of one .npz
(ResNet50, EfficientNet-B0 and DeiT for images), with the explanations in the order of its configuration.
Two such files, of the unperturbed and of the perturbed inputs, make one pair file per model and
explanation: ``names=("arr_0", "arr_0"), method=9``. Its volumes are refused because they have six axes,
its point clouds because they have four. Source: github.com/IML-DKFZ/latec (src/main/main_explain.py,
src/main/main_eval.py and src/modules/xai_methods.py).
"""

import math
from dataclasses import replace

from ..errors import FormatError
from .source import CHANNELS, FEW, Source, picked


def one_method(source: Source, method: int | None) -> Source:
    """Take one explanation of LATEC's layout; return arrays without five axes as they are."""
    words, stored = source.words, source.shape
    if len(stored) != 5 or 0 in stored:
        if method is not None:
            raise ValueError(
                f"{words} is {stored}; method={method} is for LATEC's (N, explanation, channel, height, "
                "width): leave it out"
            )
        return source
    if not _is_latec(stored):
        raise FormatError(f"{words} is {stored}; {five_axes(stored)}")
    if method is None or not 0 <= method < stored[1]:
        raise ValueError(
            f"{words} is {stored}; {five_axes(stored)}; for LATEC's layout say which explanation, method=0 "
            f"to method={stored[1] - 1}, got {method}"
        )
    row_bytes = source.dtype.itemsize * math.prod(stored[1:])
    return replace(
        source,
        shape=(stored[0], *stored[2:]),
        read=lambda rows: picked(source.read, row_bytes, rows, lambda values: values[:, method]),
        along=None,
    )


def _is_latec(stored: tuple[int, ...]) -> bool:
    return stored[2] in CHANNELS and stored[4] > FEW


def five_axes(stored: tuple[int, ...]) -> str:
    """Explain what an array with five axes may hold, and how to say so."""
    words = "LATEC stores (N, explanation, channel, height, width)"
    if not _is_latec(stored):
        words = f"this is not LATEC's (N, explanation, channel, height, width), whose channels are {CHANNELS}"
    return (
        f"{words}; shap's (N, height, width, channel, class) is axes='NHWCK' and class_index=0, to choose a "
        "class; (N, channel, height, width, class) is axes='NCHWK'; of volumes, (N, channel, depth, "
        "height, width), save one slice: array[:, :, 0]"
    )
