"""Names of samples: how they are compared and stored."""

import unicodedata
from collections.abc import Iterable
from pathlib import Path

from ..errors import FormatError
from ..pairfile.attributes import is_text
from ..pairfile.batch import NAME_BYTES
from ..tables.natural import natural_key

# What asks for all arrays of a file, or of a part of it, as the samples: FILE:* or FILE:maps/*.
EACH = "*"


def sample_name(text: str, where: str) -> str:
    """Return the name of a sample in the form in which names are compared and stored.

    One name can be written in several ways in Unicode: macOS splits letters and their accents in the
    names of files.
    """
    name = text if text.isascii() else unicodedata.normalize("NFC", text)
    if not name or "\0" in name or not is_text(name) or len(name.encode()) > NAME_BYTES:
        raise FormatError(
            f"{where} names a sample {name!r}; a name must be a text of 1 to {NAME_BYTES} bytes in UTF-8: "
            "rename it"
        )
    return name


def sample_arrays(path: Path, arrays: Iterable[str], wanted: str) -> dict[str, str]:
    """Return all arrays below a name that ends in `EACH`, by the names of their samples in natural order."""
    above = wanted.removesuffix(EACH)
    found: dict[str, str] = {}
    for array in arrays:
        if array.startswith(above):
            name = sample_name(array.removeprefix(above), str(path))
            if found.setdefault(name, array) != array:
                raise FormatError(
                    f"{path} has two arrays whose names read '{name}', written with different characters: "
                    "rename one"
                )
    return {name: found[name] for name in sorted(found, key=natural_key)}
