"""The routes of the page: files of the page itself, and answers in JSON or raw numbers."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from importlib import resources
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from ..messages import say, show_traceback
from ..tables.labels import number_text
from . import asking
from .asking import Refusal, whole
from .security import Guard
from .views import MOST_PIXELS, Views

_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
# Rows of the table that are sent at once.
_MOST_ROWS = 500
# Each thread keeps memory of its own for arrays that were freed.
_N_THREADS = 4
_MOST_SAMPLES = 2**40
_MOST_K = _MOST_W = MOST_PIXELS

Answer = Callable[[Views, dict[str, str]], Response]


def page(views: Views, *, token: str, host: str, framed: bool = False) -> ASGIApp:
    """Return the application that shows these files; `Guard` says what the other parameters mean."""
    answers = {name: _constant(kind, body) for name, (kind, body) in _static().items()} | _ANSWERS
    answers[""] = answers["index.html"]
    threads = ThreadPoolExecutor(_N_THREADS)
    routes = [Route(f"/{name}", _endpoint(views, threads, answer)) for name, answer in answers.items()]
    app = Starlette(routes=routes, exception_handlers={404: _not_found})
    app.router.redirect_slashes = False  # only exact names are known
    return Guard(app, token=token, host=host, framed=framed)


def _static() -> dict[str, tuple[str, bytes]]:
    """Return the files of the page by name: nothing else of the disk can be asked for."""
    folder = resources.files(__package__).joinpath("static")
    found = {}
    for file in folder.iterdir():
        kind = _TYPES.get("." + file.name.rpartition(".")[2])
        if kind is not None:
            found[file.name] = (f"{kind}; charset=utf-8", file.read_bytes())
    return found


def _constant(kind: str, body: bytes) -> Answer:
    return lambda *_: Response(body, headers={"content-type": kind})


def _endpoint(views: Views, threads: Executor, answer: Answer) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(threads, answer, views, dict(request.query_params))
        except Refusal as refusal:
            return _json({"error": refusal.sentence}, refusal.status)
        except Exception as error:  # a mistake of ours must not end the page
            show_traceback(error)
            say(f"lensmetrics: {type(error).__name__} while answering {request.url.path}: {error}")
            return _json({"error": "lensmetrics made a mistake; its terminal says which"}, 500)

    return endpoint


async def _not_found(*_: object) -> Response:
    return _json({"error": "there is nothing of this name"}, 404)


def _json(answer: Any, status: int = 200) -> Response:
    body = json.dumps(answer, allow_nan=False, separators=(",", ":")).encode()
    return Response(body, status, media_type="application/json")


def _raw(body: bytes) -> Response:
    return Response(body, media_type="application/octet-stream")


def _place(views: Views, asked: dict[str, str], key: str = "file") -> tuple[int, int]:
    return (
        whole(asked, key, 0, len(views.files.entries) - 1),
        whole(asked, "position", 0, _MOST_SAMPLES),
    )


def _sizes(asked: dict[str, str]) -> tuple[int, int]:
    return whole(asked, "k", 1, _MOST_K), whole(asked, "w", 0, _MOST_W)


def _rows(views: Views, asked: dict[str, str]) -> Response:
    around = _place(views, asked) if "file" in asked else None
    shown = [asking.column(asked, "shown", views.rows)] if asked.get("shown") else []
    found = views.rows.page(
        asking.query(asked, views.rows),
        whole(asked, "offset", 0, _MOST_SAMPLES, 0),
        whole(asked, "limit", 1, _MOST_ROWS, 100),
        shown,
        around,
    )
    for row in found["rows"]:
        row["texts"] = [number_text(value) for value in row["scores"]]
        row["scores"] = [value if np.isfinite(value) else None for value in row["scores"]]
    return _json(found)


def _points(views: Views, asked: dict[str, str]) -> Response:
    x, y = (asking.column(asked, key, views.rows) for key in ("x", "y"))
    values, located, total = views.rows.points(asking.query(asked, views.rows), x, y)
    answer = _raw(values.astype("<f8").tobytes() + located.astype("<i4").tobytes())
    answer.headers["x-total"] = str(total)
    return answer


_ANSWERS: dict[str, Answer] = {
    "start": lambda views, _: _json(views.start()),
    "state": lambda views, _: _json(views.state()),
    "rows": _rows,
    "points": _points,
    "sample": lambda views, asked: _json(views.sample(*_place(views, asked))),
    "maps": lambda views, asked: _raw(views.maps(*_place(views, asked))),
    "images": lambda views, asked: _raw(views.images(*_place(views, asked))),
    "scores": lambda views, asked: _json(views.scores(*_place(views, asked), *_sizes(asked))),
    "plain": lambda views, asked: _json(views.plain_scores(*_place(views, asked))),
    "layers": lambda views, asked: _raw(views.layers(*_place(views, asked), *_sizes(asked))),
}
