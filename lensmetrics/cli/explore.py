"""``lensmetrics explore``."""

import argparse
import os
import sys
import threading
from pathlib import Path

from ..messages import say
from .arguments import check_files, check_once, integer, pair_files
from .opening import open_scores

HELP = "show pair files in the browser: maps, their sets, and scores that follow k and w"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare options and arguments."""
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="pair files (.h5), or folders of them"
    )
    parser.add_argument(
        "--scores",
        type=Path,
        metavar="TABLE",
        help="the table that score wrote of these files (default: score them in the background)",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="HOST",
        help="where to listen (default: 127.0.0.1, which only this machine can reach)",
    )
    parser.add_argument(
        "--port", type=_port, default=0, metavar="PORT", help="the port (default: 0, any that is free)"
    )
    parser.add_argument(
        "--no-browser", action="store_true", help="only print the address, and open no browser"
    )


def _port(text: str) -> int:
    number = integer(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"must be from 0 to 65535, got {number}")
    return number


def run(arguments: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C."""
    files = pair_files(arguments.files)
    check_once(files)
    if arguments.scores is not None:
        check_files([arguments.scores])
    scores = None if arguments.scores is None else open_scores(arguments.scores)
    try:
        from ..explorer.serving import Server
    except ModuleNotFoundError as error:
        from ..explorer.notebook import missing_server

        raise missing_server(error) from error
    with Server(files, scores, host=arguments.host, port=arguments.port) as server:
        if arguments.host not in ("127.0.0.1", "::1", "localhost"):
            say(
                f"lensmetrics: --host {arguments.host}: whoever reaches this machine and has the address, "
                "which travels unencrypted, sees these files"
            )
        print(server.address, flush=True)
        say("open this address in a browser; Ctrl-C ends")
        if not arguments.no_browser and _has_screen():
            threading.Thread(target=_open, args=(server.address,), daemon=True).start()
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            server.close()
            say("lensmetrics: interrupted")
            os._exit(130)  # threads may compute for a while, such as the scores of a large map
    return 0


def _has_screen() -> bool:
    """Return whether a browser would open in a window before the user, not in the terminal or elsewhere."""
    if "SSH_CONNECTION" in os.environ:
        return False
    return sys.platform == "darwin" or bool({"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ))


def _open(address: str) -> None:
    import webbrowser

    webbrowser.open(address)
