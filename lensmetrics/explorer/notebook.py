"""`explore`: the page in a notebook."""

import os
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pandas as pd

from ..disk import check_inputs
from ..tables.files import read_scores

if TYPE_CHECKING:
    from .serving import Server

# Height of the frame in pixels of the screen.
_HEIGHT = 900


class Explorer:
    """A page that is shown until it is closed; a notebook displays it in a frame.

    Attributes
    ----------
    address
        Where a browser on this machine finds the page. Whoever knows it can see the files.
    """

    def __init__(self, server: "Server") -> None:
        self._server = server
        self.address = server.address

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Explorer({self.address!r})"

    def _repr_html_(self) -> str:
        address = escape(self.address, quote=True)
        return (
            f'<iframe src="{address}" title="lensmetrics explore" width="100%" height="{_HEIGHT}" '
            f'style="border:1px solid #888"></iframe><div><a href="{address}" target="_blank" '
            'rel="noreferrer">open it in a window of its own</a></div>'
        )

    def close(self) -> None:
        """End the server of the page; the frame then stays as it is."""
        self._server.close()


def explore(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    scores: str | os.PathLike[str] | pd.DataFrame | None = None,
) -> Explorer:
    """Show pair files on a page: their maps, sets and scores, which follow k and w.

    It is the page of ``lensmetrics explore``. A notebook displays the returned value in a frame; anywhere
    else, open its address in a browser.

    Parameters
    ----------
    paths
        One pair file or several.
    scores
        The table of their scores, or its file. None scores them in the background, with the LENS suite for
        w = 1 and k = 100, or k = 1000 from 128x128 pixels on.

    Returns
    -------
    Explorer
        The page, with its ``address``. ``close()`` ends it, and so does the end of the process; it can be
        used in a ``with`` statement.

    Raises
    ------
    FileNotFoundError
        If a path does not exist. Files that are damaged are listed on the page with what is wrong.
    ValueError
        If no path is given, or the table of scores belongs to none of the files.
    ImportError
        If starlette or uvicorn are not installed: ``pip install 'lensmetrics[explore]'``.

    Notes
    -----
    The server listens on 127.0.0.1 only. If the notebook runs on another machine than the browser, forward
    the port of the address, as in ``ssh -L PORT:127.0.0.1:PORT``, and open the address in a browser.

    Examples
    --------
    >>> import lensmetrics as lm
    >>> from lensmetrics.demo import DATA
    >>> with lm.explore(sorted(DATA.glob("*-topk.h5"))) as page:
    ...     page.address.startswith("http://127.0.0.1:")
    True
    """
    several = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if not several:
        raise ValueError("no pair files given: name at least one")
    files = [Path(path) for path in several]
    check_inputs(files)
    table = scores if scores is None or isinstance(scores, pd.DataFrame) else read_scores(scores)
    try:
        from .serving import Server
    except ModuleNotFoundError as error:
        raise missing_server(error) from error
    return Explorer(Server(files, table, framed=True).__enter__())


def missing_server(error: ModuleNotFoundError) -> ImportError:
    """Return what to say where the server is not installed; any other error is returned unchanged."""
    if str(error.name).partition(".")[0] not in ("starlette", "uvicorn"):
        return error
    return ImportError("explore needs a server: pip install 'lensmetrics[explore]'")
