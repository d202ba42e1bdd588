"""What can be wrong with an input; this module imports nothing."""


class FormatError(ValueError):
    """A file lacks what its reader needs; the message says what came and what is allowed.

    Examples
    --------
    >>> import tempfile
    >>> import lensmetrics as lm
    >>> with tempfile.NamedTemporaryFile(suffix=".h5") as file:
    ...     try:
    ...         lm.PairStore(file.name)
    ...     except lm.FormatError as error:
    ...         print(str(error).removeprefix(file.name))
     is empty (0 bytes); a pair file is an HDF5 file: regenerate or copy it again
    """


class BadSample(FormatError):
    """A sample keeps its file from being scored."""
