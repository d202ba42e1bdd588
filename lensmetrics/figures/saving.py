"""Files of figures: the same figure always gives the same bytes, and only figures are replaced."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..tables.outputs import check_no_input
from .style import Picture

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


def save_figure(figure: Picture, path: Path, kind: str) -> None:
    """Write a figure as ``pdf``, ``svg`` or ``png``."""
    figure.savefig(path, format=kind, metadata=_METADATA[kind])
