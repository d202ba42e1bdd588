"""Ask a server of the explorer without a browser: as a client would, and as none should."""

import http.client
import json
import socket
import time
import urllib.parse
from typing import Any

from lensmetrics.explorer.serving import Server


def get(server: Server, path: str, **asked: object) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body of an answer."""
    parts = urllib.parse.urlsplit(server.address)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=60)
    words = f"?{urllib.parse.urlencode(asked)}" if asked else ""
    connection.request("GET", f"{parts.path}{path}{words}")
    answer = connection.getresponse()
    found = answer.status, dict(answer.getheaders()), answer.read()
    connection.close()
    return found


def told(server: Server, path: str, **asked: object) -> Any:
    """Return what a good request is told in JSON."""
    status, _, body = get(server, path, **asked)
    assert status == 200, body
    return json.loads(body)


def refused(server: Server, path: str, **asked: object) -> tuple[int, str]:
    """Return status and sentence of a request that is refused."""
    status, _, body = get(server, path, **asked)
    return status, json.loads(body)["error"]


def raw(server: Server, request: bytes) -> tuple[int, bytes]:
    """Return the status and all bytes of the answer to the bytes of a request."""
    parts = urllib.parse.urlsplit(server.address)
    with socket.create_connection((str(parts.hostname), int(parts.port or 0)), timeout=10) as connection:
        connection.sendall(request)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return int(answer.split(maxsplit=2)[1]), answer


def until(server: Server, key: str = "done") -> dict[str, Any]:
    """Wait until everything is opened, compiled and scored; return the state then."""
    for _ in range(4800):
        state: dict[str, Any] = told(server, "state")
        if state[key]:
            return state
        time.sleep(0.05)
    raise TimeoutError(state)
