"""Names of samples: how they are compared and stored."""

import unicodedata

from ..errors import FormatError
from ..pairfile.attributes import is_text
from ..pairfile.batch import NAME_BYTES


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
