"""Who may ask the server, and for what: everything else is refused before any code of the page runs."""

import ipaddress
import json
import secrets
import socket
from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Scripts and styles come from files of the server alone, and nothing from anywhere else.
_POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'none'"
)
_HEADERS = {
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


def new_token() -> str:
    """Return what nobody can guess."""
    return secrets.token_urlsafe(24)


def allowed_hosts(host: str) -> frozenset[str]:
    """Return the names under which the server may be asked, besides loopback; `host` is where it listens.

    >>> sorted(allowed_hosts("127.0.0.1"))
    ['127.0.0.1', '::1', 'localhost']
    """
    names = {"127.0.0.1", "localhost", "::1", host.lower()}
    if is_any(host):
        names |= {socket.gethostname().lower(), socket.getfqdn().lower()}
    return frozenset(names)


def is_any(host: str) -> bool:
    """Return whether a host stands for all addresses of the machine."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


class Guard:
    """Lets requests through that are GET, name an allowed host, and know the token.

    A page of another site can make a browser send requests to this machine, under a name of its own if it
    changes what the name stands for (DNS rebinding). It knows neither the token, which is the first part of
    every path, nor can it make the browser send another ``Host``.

    Parameters
    ----------
    app
        What to protect; it sees paths without the token.
    token
        The token.
    host
        Where the server listens.
    framed
        Whether pages of this machine, such as a notebook, may show the page in a frame.
    """

    def __init__(self, app: ASGIApp, *, token: str, host: str, framed: bool = False) -> None:
        self._app, self._token, self._hosts = app, token, allowed_hosts(host)
        self._any = is_any(host)
        self._policy = _POLICY if framed else f"{_POLICY}; frame-ancestors 'none'"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse."""
        if scope["type"] != "http":
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = {**_HEADERS, "content-security-policy": self._policy}
                message["headers"] = [
                    *message["headers"],
                    *((name.encode(), value.encode()) for name, value in headers.items()),
                ]
            await send(message)

        hosts = [value for name, value in scope["headers"] if name == b"host"]
        token, slash, rest = scope["path"].removeprefix("/").partition("/")
        if len(hosts) != 1 or not self._is_allowed(hosts[0].decode("latin-1")):
            await _refuse(with_headers, 403, "this server does not answer under that name: use the address "
                          "that lensmetrics explore printed")  # fmt: skip
        elif scope["method"] != "GET":
            await _refuse(with_headers, 405, "only GET is allowed", [(b"allow", b"GET")])
        elif not secrets.compare_digest(token.encode(), self._token.encode()) or not slash:
            await _refuse(with_headers, 403, "the token is missing or wrong: use the whole address that "
                          "lensmetrics explore printed, up to its last slash")  # fmt: skip
        else:
            await self._app({**scope, "path": f"/{rest}", "raw_path": b""}, receive, with_headers)

    def _is_allowed(self, host: str) -> bool:
        name = _without_port(host).lower()
        return name in self._hosts or (self._any and _is_address(name))


def _without_port(host: str) -> str:
    """Return the name in the ``Host`` of a request; ports differ where they are forwarded.

    >>> _without_port("localhost:80"), _without_port("[::1]:80"), _without_port("a:b:c")
    ('localhost', '::1', '')
    """
    if host.startswith("["):
        name, bracket, port = host[1:].partition("]")
        return name if bracket and (not port or port[1:].isdecimal()) else ""
    name, colon, port = host.partition(":")
    return name if not colon or port.isdecimal() else ""


def _is_address(name: str) -> bool:
    """Return whether this is an address in numbers, which nobody can make stand for another machine."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


async def _refuse(
    send: Send, status: int, sentence: str, headers: Iterable[tuple[bytes, bytes]] = ()
) -> None:
    body = json.dumps({"error": sentence}).encode()
    length = (b"content-length", str(len(body)).encode())
    start = [(b"content-type", b"application/json"), length, (b"connection", b"close"), *headers]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body})
