"""Files of figures: the same figure always gives the same bytes, and only figures are replaced."""

import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ..tables.outputs import check_no_input

# By this name in its metadata a figure is recognized.
_MARK = "drawn by lensmetrics"
# A figure without dates, so that it has the same bytes each time.
_METADATA: dict[str, dict[str, Any]] = {
    "pdf": {"Creator": _MARK, "CreationDate": None},
    "svg": {"Creator": _MARK, "Date": None},
    "png": {"Software": _MARK},
}


def check_figure(output: Path, inputs: Iterable[Path]) -> None:
    """Refuse an output that is no name of a figure, is read, or exists and is no figure of lensmetrics."""
    if output.suffix not in (".pdf", ".svg", ".png"):
        raise ValueError(
            f"{output}: this command writes a figure; choose a name that ends in .pdf, .svg or .png"
        )
    check_no_input(output, inputs)
    if not output.exists():
        return
    if not output.is_file():
        raise FileExistsError(f"{output} is not a regular file; choose another output")
    found = output.read_bytes()
    if found and _MARK.encode() not in found:
        raise FileExistsError(
            f"{output} exists and is not a figure of lensmetrics: choose another output, or move that file "
            "away"
        )


def save_figure(figure: Figure, path: str | os.PathLike[str], kind: str) -> None:
    """Write a figure as ``pdf``, ``svg`` or ``png``."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        figure.savefig(path, format=kind, metadata=_METADATA[kind])
    missing = {str(warning.message) for warning in caught if "missing from font" in str(warning.message)}
    if missing and kind != "svg":  # the reader of an SVG has other fonts
        lacks = "a character" if len(missing) == 1 else f"{len(missing)} characters"
        warnings.warn(
            f"the font of figures lacks {lacks} of the labels and draws boxes: an SVG keeps them as text",
            stacklevel=2,
        )
