"""Grey PNG and TIFF pictures: each is one map, and each page of a TIFF is one sample.

The values are the stored levels, such as 0 to 255. What a file says about its display (orientation,
gamma, resolution) changes no value and is ignored.
"""

import contextlib
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from .filling import cannot_fill
from .foreign import first_bytes
from .scales import Axis
from .source import Fill, Rows, Source

if TYPE_CHECKING:
    import PIL.Image

_PNG = b"\x89PNG\r\n\x1a\n"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Pillow's modes of grey pictures whose values are those in the file.
_GREY = ("L", "I;16", "I;16L", "I;16B", "I;16N", "I", "F")
_COLOURS = (
    "{words} holds colours ({mode}), whose order is not that of the values that they stand for: save the "
    "array that it was drawn from with numpy.save; if it looks grey, "
    "numpy.save('u.npy', numpy.asarray(PIL.Image.open({name!r}).convert('RGB'))[None, ..., 0])"
)
# Tags of TIFF: the bits of a value and what they are (1 unsigned, 2 signed, 3 float), how levels are shown,
# and the text in which ImageJ counts its pages.
_BITS, _FORMAT, _PHOTOMETRIC, _DESCRIPTION, _ORIENTATION = 258, 339, 262, 270, 274
_FORMATS = {1: "unsigned", 2: "signed", 3: "floating-point"}
# The bits and formats that Pillow reads without changing a value.
_READ = {(8, 1), (16, 1), (16, 2), (32, 2), (32, 3)}
_PAGES = re.compile(r"^ImageJ=.*\nimages=([0-9]+)")
_TAGS = (_BITS, _FORMAT, _PHOTOMETRIC, _DESCRIPTION, _ORIENTATION)


class _Page(NamedTuple):
    mode: str
    n_bands: int
    tags: dict[int, Any]  # of a TIFF
    values: NDArray[Any]


def is_picture(path: Path) -> bool:
    """Return whether a file is a PNG or a TIFF picture."""
    return first_bytes(path, len(_PNG)).startswith((_PNG, *_TIFF))


def open_maps(
    path: Path, role: str, wanted: str | None, *, beside: Path, stack: contextlib.ExitStack
) -> Source:
    """Take a picture as one map per page."""
    if wanted is not None:
        raise ValueError(f"{path} is a picture, which has no array named {wanted!r}: leave the name out")
    try:
        import PIL.Image
    except ImportError as error:
        raise FormatError(
            f"{path} is a picture, which needs a package: pip install 'lensmetrics[files]'"
        ) from error
    with _reading(path):
        image = stack.enter_context(PIL.Image.open(path, formats=("PNG", "TIFF")))
        page = _decoded(image, 0)
        n_pages = getattr(image, "n_frames", 1)
        description = str(page.tags.get(_DESCRIPTION, ""))
    first = _checked(path, 0, page)
    counted = _PAGES.search(description)
    if counted and int(counted[1]) > n_pages:  # large stacks have all pages behind the header of the first
        raise FormatError(
            f"{path} is a stack of ImageJ with {counted[1]} pages, of which Pillow finds {n_pages}: "
            f"numpy.save('u.npy', tifffile.imread({path.name!r}))"
        )

    def read(rows: Rows) -> NDArray[Any]:
        numbers = range(n_pages)[rows] if isinstance(rows, slice) else rows
        block = np.empty((len(numbers), *first.shape), first.dtype)
        for target, number in zip(block, map(int, numbers), strict=True):
            if number:
                with _reading(path):
                    page = _decoded(image, number)
                values = _checked(path, number, page)
                if values.shape != first.shape or values.dtype != first.dtype:
                    raise FormatError(
                        f"{path}, page {number}, is {values.shape}, {values.dtype}, but page 0 is "
                        f"{first.shape}, {first.dtype}; a pair file holds maps of one size and type"
                    )
            target[...] = values if number else first
        return block

    axes = tuple(Axis(name, None) for name in ("sample", "y", "x"))
    return Source(str(path), "", (n_pages, *first.shape), first.dtype, read, axes=axes)


def read_column(
    path: Path, wanted: str | None, what: str, maps: Source, *, beside: Path, stack: contextlib.ExitStack
) -> tuple[str, NDArray[Any]]:
    """Refuse a picture: it holds no column."""
    raise FormatError(f"{path} is a picture; {what} must be integers, one per sample, in another file")


def filler(path: Path, source: Source) -> Fill:
    """Return a function that reads a PNG into an array; it returns False where anything is unusual.

    It does what `open_maps` does with the only map of a picture, which takes several times as long.
    """
    if first_bytes(path, len(_PNG)) != _PNG:
        return cannot_fill
    import PIL.Image

    def fill(path: str, target: NDArray[Any]) -> bool:
        try:
            with _reading(path), PIL.Image.open(path, formats=("PNG",)) as image:
                page = _decoded(image, 0)
                n_pages = getattr(image, "n_frames", 1)
        except (FormatError, PermissionError):
            return False  # who reads it again says why
        same = (page.values.shape, page.values.dtype) == (target.shape, target.dtype)
        if n_pages > 1 or _fault(page) or not same:
            return False
        target[...] = page.values
        return True

    return fill


@contextlib.contextmanager
def _reading(path: Path | str) -> Iterator[None]:
    """Turn what Pillow says about a picture into one sentence; nothing but Pillow is called in here."""
    import PIL.Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about what a picture says besides its pixels
            warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
            yield
    except (PIL.Image.DecompressionBombWarning, PIL.Image.DecompressionBombError) as error:
        raise FormatError(
            f"{path} claims more than {PIL.Image.MAX_IMAGE_PIXELS} pixels, too many for a map: save the "
            "array with numpy.save"
        ) from error
    except (MemoryError, PermissionError):
        raise
    except Exception as error:  # damaged bytes can make Pillow raise anything
        if isinstance(error, PIL.UnidentifiedImageError):
            raise FormatError(
                f"{path} is damaged, or of a type that Pillow does not read, such as float64: save the array "
                "with numpy.save"
            ) from error
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FormatError(
            f"{path} is truncated or damaged ({reason}): save it again, or its array with numpy.save"
        ) from error


def _decoded(image: "PIL.Image.Image", number: int) -> _Page:
    """Read a page, without judging it."""
    image.seek(number)
    tags = getattr(image, "tag_v2", {})
    tags = {tag: tags[tag] for tag in _TAGS if tag in tags}  # Pillow drops some of them while it decodes
    return _Page(image.mode, len(image.getbands()), tags, np.asarray(image))


def _checked(path: Path, number: int, page: _Page) -> NDArray[Any]:
    """Return the levels of a page; refuse colours, and values that Pillow changes."""
    words = f"{path}, page {number}," if number else str(path)
    if page.mode == "P" or page.n_bands > 1:
        raise FormatError(_COLOURS.format(words=words, mode=page.mode, name=path.name))
    fault = _fault(page)
    if fault:
        raise FormatError(f"{words} {fault}: save the array that it was drawn from with numpy.save")
    return page.values


def _fault(page: _Page) -> str:
    """Say why the values of a page are not those in the file, if they are not."""
    if page.mode not in _GREY:
        return f"has the mode {page.mode}, which is no grey of 8 or 16 bits, nor float32"
    if not page.tags:  # a PNG
        return ""
    bits, kind = page.tags.get(_BITS, (1,))[0], page.tags.get(_FORMAT, (1,))[0]
    if (bits, kind) not in _READ:
        return f"has {bits} bits per value, {_FORMATS.get(kind, 'of an unknown type')}"
    if page.tags.get(_PHOTOMETRIC, 1) == 0:
        return "stores white as 0, which inverts the order of its values"
    return "is stored turned or mirrored" if page.tags.get(_ORIENTATION, 1) != 1 else ""
