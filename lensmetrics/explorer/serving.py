"""A server in a thread of its own: it begins at once, and nothing can keep it from ending."""

import errno
import socket
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import pandas as pd
import uvicorn

from .app import page
from .security import is_any, new_token
from .views import Views

# How long to wait for the thread of the server at the end; it holds nothing that must be closed.
_SECONDS = 1.0


class Server:
    """Shows pair files in the browser until it is closed.

    Parameters
    ----------
    paths
        Pair files.
    scores
        A table of scores; None scores in the background.
    host
        Where to listen: an address of this machine.
    port
        The port, 0 for a free one.
    framed
        Whether a notebook may show the page in a frame.

    Raises
    ------
    ValueError
        If the table of scores belongs to none of the files.
    OSError
        If the host is no address of this machine, or the port is taken.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        scores: pd.DataFrame | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        framed: bool = False,
    ) -> None:
        self._views = Views(paths, scores)
        self._socket = _listening(host, port)
        token = new_token()
        named = socket.gethostname() if is_any(host) else host
        shown = f"[{named}]" if ":" in named else named
        self.address = f"http://{shown}:{self._socket.getsockname()[1]}/{token}/"
        config = uvicorn.Config(
            page(self._views, token=token, host=host, framed=framed),
            http="h11",
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True
        )

    def __enter__(self) -> Self:
        self._views.__enter__()
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            time.sleep(0.005)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def views(self) -> Views:
        """What the page is told."""
        return self._views

    def close(self) -> None:
        """End the server and everything that it started."""
        self._server.should_exit = self._server.force_exit = True
        self._views.__exit__()
        self._thread.join(_SECONDS)
        self._socket.close()


def _listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens, or say what to do."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.create_server((host, port), family=family)
    except socket.gaierror as error:
        raise ValueError(f"--host {host} is no address of this machine: use 127.0.0.1") from error
    except PermissionError as error:
        raise ValueError(f"--port {port} needs rights that you lack: use 0 or one above 1023") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ValueError(f"--port {port} is taken: use another one, or 0 for a free one") from error
        raise ValueError(f"cannot listen on --host {host} ({error.strerror}): use 127.0.0.1") from error
    # Connections inherit this. Without it, the end of every answer waits 40 ms for the browser to acknowledge
    # its beginning; asyncio sets it only where a socket was made with the number of its protocol.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening
