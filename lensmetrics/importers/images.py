"""Grey PNG and TIFF pictures: each is one map, and each page of a TIFF is one sample.

The values are the stored levels, such as 0 to 255. What a file says about its display (orientation,
gamma, resolution) changes no value and is ignored.
"""

import contextlib
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from .scales import Axis
from .source import Rows, Source

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


def is_picture(path: Path) -> bool:
    """Return whether a file is a PNG or a TIFF picture."""
    try:
        with path.open("rb") as file:
            head = file.read(len(_PNG))
    except OSError:
        return False  # the last kind in the list says why
    return head == _PNG or head.startswith(_TIFF)


def open_maps(
    path: Path, role: str, wanted: str | None, *, beside: Path, stack: contextlib.ExitStack
) -> Source:
    """Take a picture as one map per page."""
    if wanted is not None:
        raise ValueError(f"{path} is a picture, which has no array named {wanted!r}: leave the name out")
    image = stack.enter_context(_opened(path))
    first = _page(path, image, 0)
    with _reading(path):
        n_pages = getattr(image, "n_frames", 1)
    _check_pages(path, image, n_pages)

    def read(rows: Rows) -> NDArray[Any]:
        numbers = range(n_pages)[rows] if isinstance(rows, slice) else rows
        pages = [_page(path, image, int(number)) if number else first for number in numbers]
        for number, page in zip(numbers, pages, strict=True):
            if page.shape != first.shape or page.dtype != first.dtype:
                raise FormatError(
                    f"{path}, page {number}, is {page.shape}, {page.dtype}, but page 0 is {first.shape}, "
                    f"{first.dtype}; a pair file holds maps of one size and type"
                )
        return np.stack(pages)

    axes = tuple(Axis(name, None) for name in ("sample", "y", "x"))
    return Source(str(path), "", (n_pages, *first.shape), first.dtype, read, axes=axes)


def read_column(
    path: Path, wanted: str | None, what: str, maps: Source, *, beside: Path, stack: contextlib.ExitStack
) -> tuple[str, NDArray[Any]]:
    """Refuse a picture: it holds no column."""
    raise FormatError(f"{path} is a picture; {what} must be integers, one per sample, in another file")


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
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


def _opened(path: Path) -> "PIL.Image.Image":
    try:
        import PIL.Image
    except ImportError as error:
        raise FormatError(
            f"{path} is a picture, which needs a package: pip install 'lensmetrics[files]'"
        ) from error
    with _reading(path):
        return PIL.Image.open(path, formats=("PNG", "TIFF"))


def _page(path: Path, image: "PIL.Image.Image", number: int) -> NDArray[Any]:
    with _reading(path):
        image.seek(number)
        mode, fault = image.mode, _fault(image)
    words = f"{path}, page {number}," if number else str(path)
    if mode == "P" or len(image.getbands()) > 1:
        raise FormatError(_COLOURS.format(words=words, mode=mode, name=path.name))
    if mode not in _GREY and not fault:
        fault = f"has the mode {mode}, which is no grey of 8 or 16 bits, nor float32"
    if fault:
        raise FormatError(f"{words} {fault}: save the array that it was drawn from with numpy.save")
    with _reading(path):
        return np.asarray(image)


def _fault(image: "PIL.Image.Image") -> str:
    """Say why Pillow would change the values of a page of a TIFF, if it would."""
    if not hasattr(image, "tag_v2"):
        return ""
    bits, form = _tag(image, _BITS, (1,)), _tag(image, _FORMAT, (1,))
    if len(set(bits)) == 1 and (bits[0], form[0]) not in _READ:
        return f"has {bits[0]} bits per value, {_FORMATS.get(form[0], 'unknown')}"
    if _tag(image, _PHOTOMETRIC, 1) == 0:
        return "stores white as 0, which inverts the order of its values"
    if _tag(image, _ORIENTATION, 1) != 1:
        return "is stored turned or mirrored"
    return ""


def _tag(image: "PIL.Image.Image", number: int, default: Any) -> Any:
    """Return a tag of a TIFF."""
    return getattr(image, "tag_v2", {}).get(number, default)


def _check_pages(path: Path, image: "PIL.Image.Image", n_pages: int) -> None:
    """Refuse large stacks of ImageJ, which hold all pages behind the header of the first."""
    with _reading(path):
        text = str(_tag(image, _DESCRIPTION, ""))
    counted = _PAGES.search(text)
    if counted and int(counted[1]) > n_pages:
        raise FormatError(
            f"{path} is a stack of ImageJ with {counted[1]} pages, of which Pillow finds {n_pages}: "
            f"numpy.save('u.npy', tifffile.imread({path.name!r}))"
        )
