"""The command ``lensmetrics``: a module per subcommand.

Results go to stdout: tables, contents of files, verdicts on samples. Progress and messages go to
stderr; a message that says why a file or the whole command failed begins with ``lensmetrics:``. Exit
status:

* 0: success.
* 1: something is wrong with the contents of files or with the machine: samples or files that cannot
  be read or fail their checksum, a full disk, a process that died.
* 2: the command line cannot be carried out: wrong usage, unknown metrics, columns or statuses, inputs
  that do not exist (all are named, and no work is started), outputs that cannot be written, are
  inputs, or would replace something else.
* 130: interrupted.

Errors of a type that only a mistake in lensmetrics raises, such as TypeError and KeyError, are not
caught: they end in a traceback. With the environment variable ``LENSMETRICS_TRACEBACK`` set, every error
shows one. Commands import what they need when they run, so that help appears immediately.
"""

import argparse
import atexit
import contextlib
import errno
import gc
import os
import re
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Protocol

from .. import __version__
from ..errors import FormatError
from ..messages import open_streams, say, show_traceback
from ..processes import handling
from . import (
    certify,
    compare,
    correct,
    demo,
    explore,
    figure,
    imports,
    inspect,
    metrics,
    report,
    score,
    summarize,
    verify,
    worst,
)
from .parsing import CommandParser


class Command(Protocol):
    """What the module of a subcommand offers."""

    HELP: str  # one phrase, which begins with a verb

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare options and arguments."""

    def run(self, arguments: argparse.Namespace) -> int:
        """Do what was asked and return the exit status."""


COMMANDS: dict[str, Command] = {
    "demo": demo,
    "score": score,
    "certify": certify,
    "summarize": summarize,
    "compare": compare,
    "worst": worst,
    "figure": figure,
    "report": report,
    "explore": explore,
    "inspect": inspect,
    "verify": verify,
    "metrics": metrics,
    "import": imports,
    "set": correct,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments (default: those of the process); return the exit status."""
    gc.set_threshold(300_000)  # importing pandas makes no garbage: a short command takes 5 % less time
    atexit.register(_end_quickly)
    open_streams()
    arguments = _parser().parse_args(argv)
    try:
        with _sigterm_interrupts(), _warnings_as_messages():
            status: int = arguments.run(arguments)
            print(end="", flush=True)
        return status
    except BrokenPipeError:
        # The reader of our output has exited; keep Python from reporting that at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt as error:
        for line in ("lensmetrics: interrupted", *getattr(error, "__notes__", [])):
            say(_for_the_command(line))
        return 130
    except (RecursionError, NotImplementedError):  # RuntimeErrors that only a bug raises
        raise
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        show_traceback(error)
        say(f"lensmetrics: {_sentence(error)}")
        for note in getattr(error, "__notes__", []):
            for line in note.splitlines():
                say(_for_the_command(line))
        return 1 if _is_about_a_file(error) else 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lensmetrics",
        description="Score how well stored attribution maps survive small perturbations of the input.",
        epilog="Set the environment variable LENSMETRICS_TRACEBACK=1 to see where in the program an error "
        "occurred.",
    )
    parser.add_argument("--version", action="version", version=f"lensmetrics {__version__}")
    commands = parser.add_subparsers(
        title="commands", required=True, metavar="COMMAND", parser_class=CommandParser
    )
    for name, command in COMMANDS.items():
        text = command.HELP
        sub = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        command.add_arguments(sub)
        sub.set_defaults(run=command.run)
    return parser


def _end_quickly() -> None:
    """Skip garbage collection at exit (about 0.3 s) and ignore a late Ctrl-C."""
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _sentence(error: Exception) -> str:
    """Return the message of an error; one that comes from the system as it is becomes a sentence."""
    if not isinstance(error, OSError) or not str(error).startswith("[Errno"):
        return _for_the_command(str(error))
    if error.filename is None and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
        # Files are written by code that says which one cannot be, so this is stdout.
        return f"the output cannot be written ({error.strerror}): write it elsewhere"
    return f"{error.strerror}: {error.filename}" if error.filename else str(error.strerror)


def _for_the_command(text: str) -> str:
    """Leave out what only callers from Python can do."""
    return re.sub(r" \(in Python \w+=True\)", "", text)


def _is_about_a_file(error: Exception) -> bool:
    """Return whether an error concerns the contents of files or the machine, not what was typed."""
    if isinstance(error, FileExistsError):
        return False
    return isinstance(error, (OSError, RuntimeError, FormatError))


def _sigterm_interrupts() -> contextlib.AbstractContextManager[None]:
    """Treat SIGTERM like Ctrl-C; batch systems send it shortly before SIGKILL."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    return handling(interrupt, signal.SIGTERM)


@contextlib.contextmanager
def _warnings_as_messages() -> Iterator[None]:
    """Print warnings like other messages, without the lines of code that they come from."""

    def show(message: Warning | str, *_: object, **__: object) -> None:
        say(f"lensmetrics: {message}")

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield
