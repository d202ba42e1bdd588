"""Tables of texts that fit the width of a terminal."""

import functools
import itertools
import os
import re
import shutil
import sys
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

_GAP = "  "
# A column of texts is folded to no less than this.
_NARROW = 16
# Texts break after these characters.
_WORD = re.compile(r"\S*\s?")
_PIECE = re.compile(r"[^\s/_;,(\-]*[\s/_;,(\-]?")


@dataclass(frozen=True)
class Column:
    """A column of a printed table."""

    name: str
    cells: Sequence[str]
    right: bool = False  # numbers are aligned at the right
    foldable: bool = False  # long texts may take several lines

    @functools.cached_property
    def width(self) -> int:
        """The width of the name and of the widest text."""
        return max(map(display_width, (self.name, *self.cells)))

    @functools.cached_property
    def least(self) -> int:
        """The width below which the column cannot be folded."""
        return min(self.width, max(_NARROW, display_width(self.name))) if self.foldable else self.width


def terminal_width() -> int | None:
    """Return the width for tables: that of the terminal, or COLUMNS; None in files and pipes."""
    asked = os.environ.get("COLUMNS", "")
    if (asked.isdecimal() and int(asked)) or sys.stdout.isatty():
        return shutil.get_terminal_size().columns
    return None


def table_lines(labels: Sequence[Column], columns: Sequence[Column], width: int | None) -> list[str]:
    """Return the lines of a table whose rows are labelled by the columns `labels`.

    As long as its lines are longer than `width`, labels that are the same in all rows move above the table,
    all labels but the last become headings, other columns that are the same in all rows move above the
    table, long texts are folded, and the columns come in parts, one below the other.
    """
    labels, columns, heads = list(labels), list(columns), list[Column]()
    above: list[Column] = []
    if not _fits([*labels, *columns], width):
        above, labels = _split_off_fixed(labels)
    if not _fits([*labels, *columns], width) and len(labels) > 1:
        heads, labels = labels[:-1], labels[-1:]
    if not _fits([*labels, *columns], width):
        fixed, others = _split_off_fixed(columns)
        if others:
            above, columns = above + fixed, others
    lines: list[str] = []
    if above:
        text = ", ".join(f"{column.name} {column.cells[0]}" for column in above)
        lines += [*sentence_lines(f"In all rows: {text}", width), ""]
    for number, part in enumerate(_parts(labels, columns, width)):
        lines += [""] * (number > 0) + _grid(heads, labels, part, width)
    return lines


def _split_off_fixed(columns: list[Column]) -> tuple[list[Column], list[Column]]:
    """Return the columns that are the same in all of several rows, and the others."""
    fixed = [column for column in columns if len(column.cells) > 1 and len({*column.cells}) == 1]
    return fixed, [column for column in columns if column not in fixed]


def _fits(columns: Sequence[Column], width: int | None) -> bool:
    return width is None or _total([column.width for column in columns]) <= width


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _parts(labels: Sequence[Column], columns: Sequence[Column], width: int | None) -> list[list[Column]]:
    """Distribute the columns over parts that fit beside the labels."""
    parts: list[list[Column]] = [[]]
    for column in columns:
        candidate = [*labels, *parts[-1], column]
        if width is not None and parts[-1] and _total([c.least for c in candidate]) > width:
            parts.append([])
        parts[-1].append(column)
    return parts


def _grid(
    heads: Sequence[Column], labels: Sequence[Column], columns: Sequence[Column], width: int | None
) -> list[str]:
    shown = [*labels, *columns]
    widths = _widths(shown, width)
    names, blank = [label.name for label in labels], [""] * len(labels)
    lines = _row(shown, [*(names if heads else blank), *(column.name for column in columns)], widths)
    if labels and not heads:
        lines += _row(shown, [*names, *[""] * len(columns)], widths)
    heading: list[str] = []
    above: list[str] = []
    for i in range(len(shown[0].cells)):
        values = [head.cells[i] for head in heads]
        if values != heading:
            text = ", ".join(f"{head.name} {value}" for head, value in zip(heads, values, strict=True))
            lines += ["", *sentence_lines(text, width)]
            heading, above = values, []
        cells = [column.cells[i] for column in shown]
        lines += _row(shown, _sparse(cells, above, len(labels)), widths)
        above = cells
    return lines


def _sparse(cells: Sequence[str], above: Sequence[str], n_labels: int) -> list[str]:
    """Leave out the labels that repeat those of the row above, apart from the last one."""
    n_same = 0
    while n_same < n_labels - 1 and above and cells[n_same] == above[n_same]:
        n_same += 1
    return [*[""] * n_same, *cells[n_same:]]


def _widths(columns: Sequence[Column], width: int | None) -> list[int]:
    """Return the widths of columns, where the widest texts are folded until the line fits."""
    widths = [column.width for column in columns]
    while width is not None and _total(widths) > width:
        i = max(range(len(columns)), key=lambda i: widths[i] - columns[i].least and widths[i])
        if widths[i] == columns[i].least:
            break
        widths[i] -= 1
    return widths


def _row(columns: Sequence[Column], cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Return the lines of one row."""
    parts = [folded(cell, width) for cell, width in zip(cells, widths, strict=True)]
    lines = []
    for line in itertools.zip_longest(*parts, fillvalue=""):
        padded = [
            " " * (width - display_width(text)) + text
            if column.right
            else text.ljust(width + len(text) - display_width(text))
            for text, column, width in zip(line, columns, widths, strict=True)
        ]
        lines.append(_GAP.join(padded).rstrip())
    return lines


def sentence_lines(text: str, width: int | None) -> list[str]:
    """Return the lines of a sentence, broken at blanks where it does not fit."""
    return _filled(_WORD.findall(text), text, width)


def folded(text: str, width: int | None) -> list[str]:
    """Return the lines of the text of a cell, broken after a blank or a separator where it does not fit."""
    return _filled(_PIECE.findall(text), text, width)


def _filled(pieces: Sequence[str], text: str, width: int | None) -> list[str]:
    if width is None or display_width(text) <= width:
        return [text]
    lines = [""]
    for piece in pieces:
        if display_width(lines[-1] + piece.rstrip()) > width and lines[-1]:
            lines.append("")
        for character in piece:
            if display_width(lines[-1] + character.strip()) > width:
                lines.append("")
            lines[-1] += character
    return [line.rstrip() for line in lines]


def display_width(text: str) -> int:
    """Return how many cells of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF") for c in text)
