"""What can be wrong with an input; this module imports nothing."""


class FormatError(ValueError):
    """A file lacks what its reader needs; the message says what came and what is allowed."""


class BadSample(FormatError):
    """A sample keeps its file from being scored."""
