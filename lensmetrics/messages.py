"""Messages on stderr, a line at a time: safe to print, and a failure to print never ends the program."""

import os
import sys
import traceback


def printable(value: object) -> str:
    """Return a value as text in which line breaks and terminal control characters are escaped."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(value))


def say(text: object) -> None:
    """Print one line to stderr; do nothing if stderr is closed, full or a pipe without a reader."""
    if sys.stderr is None:
        return
    try:
        print(printable(text), file=sys.stderr, flush=True)
    except OSError:
        # Python would try again at exit, and change the exit status.
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", closefd=False)


def open_streams() -> None:
    """Replace stdin, stdout and stderr by the null device if they are closed.

    Otherwise the next file to be opened, such as a table, gets the number of the stream and its output.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(descriptor, descriptor == number)
            setattr(sys, name, os.fdopen(descriptor, mode, closefd=False))


def show_traceback(error: BaseException) -> None:
    """Print where in the program an error occurred, if LENSMETRICS_TRACEBACK asks for it."""
    if os.environ.get("LENSMETRICS_TRACEBACK", "0") not in ("", "0") and sys.stderr is not None:
        traceback.print_exception(error)
