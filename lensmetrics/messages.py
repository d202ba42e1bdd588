"""What is said to people: one line at a time, whatever a text holds and whether or not anybody listens."""

import os
import sys


def printable(value: object) -> str:
    """Return a value as text in which a file cannot hide line breaks or orders to the terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(value))


def say(text: object) -> None:
    """Print one line to stderr; where that is closed, full or read by nobody, the work goes on."""
    if sys.stderr is None:
        return
    try:
        print(printable(text), file=sys.stderr, flush=True)
    except OSError:
        # Python tries again at its end, and would then change the exit status.
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", closefd=False)


def open_streams() -> None:
    """Put the null device in the place of stdin, stdout and stderr where they are closed.

    Else the next file that is opened, such as a table, gets the stream's number and what is meant for it.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(descriptor, descriptor == number)
            setattr(sys, name, os.fdopen(descriptor, mode, closefd=False))
