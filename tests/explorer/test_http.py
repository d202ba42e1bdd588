"""What the server tells, and what it refuses."""

import json
import os
import re
import socket
import urllib.parse
from pathlib import Path

import numpy as np
import pytest

import lensmetrics as lm
from lensmetrics.explorer.security import allowed_hosts
from lensmetrics.explorer.serving import Server
from tests.explorer.asking import get, raw, refused, told, until
from tests.explorer.conftest import METRICS


def test_state_names_files_conditions_and_scores(server: Server) -> None:
    state = until(server)
    assert [file["name"] for file in state["files"]] == ["natural.h5", "pgd.h5"]
    assert [file["samples"] for file in state["files"]] == [6, 6]
    assert "eps 8/255" in state["files"][0]["conditions"]
    assert [column["text"] for column in state["columns"]] == METRICS
    assert state["leading"] == METRICS[0]
    assert state["contrasted"] == METRICS[1::-1]
    assert {"checksum", "incomplete"} <= set(state["statuses"])


def test_maps_are_sent_as_they_are_stored(server: Server, paths: list[Path]) -> None:
    until(server)
    pair = lm.PairStore(paths[1])[3]
    facts = told(server, "sample", file=1, position=3)
    body = get(server, "maps", file=1, position=3)[2]
    both = np.frombuffer(body, facts["dtype"]).reshape(2, facts["height"], facts["width"])
    assert np.array_equal(both, [pair.unperturbed, pair.perturbed])
    assert facts["range"][0] == min(pair.unperturbed.min(), pair.perturbed.min())
    assert facts["facts"] == {"sample": 16, "label": 3, "prediction": -3}
    assert facts["twins"] == [{"file": 0, "position": 3}]


def test_images_are_sent_in_bytes(server: Server) -> None:
    until(server)
    assert told(server, "sample", file=1, position=3)["images"] == [[6, 7], None]
    assert len(get(server, "images", file=1, position=3)[2]) == 6 * 7
    assert told(server, "sample", file=1, position=3)["notes"] == []
    damaged = told(server, "sample", file=0, position=5)
    assert damaged["images"] == [None, None]
    assert damaged["notes"][0].startswith("what is stored beside the maps of this sample does not match")


def test_the_line_of_python_gives_the_same_numbers(server: Server) -> None:
    until(server)
    k, w = 7, 2
    shown = told(server, "scores", file=0, position=1, k=k, w=w)
    plain = told(server, "plain", file=0, position=1)
    names: dict[str, object] = {"lm": lm}
    exec(told(server, "sample", file=0, position=1)["python"], names)
    numbers = eval(shown["python"], names)
    every = {**shown["scores"], **plain["scores"]}
    assert len(numbers) == len(every) > 15
    for text, value in numbers.items():
        found = every[lm.parse_metric(text).name]["value"]
        assert found == (None if np.isnan(value) else value), text


def test_windows_beyond_the_map_are_those_that_hold_it(server: Server) -> None:
    until(server)
    found, same = (told(server, "scores", file=0, position=1, k=7, w=w) for w in (2**24, 7))
    assert found == same
    layers = [get(server, "layers", file=0, position=1, k=7, w=w)[2] for w in (2**24, 7)]
    assert layers[0] == layers[1]


def test_rows_are_sorted_filtered_and_paged(server: Server, paths: list[Path]) -> None:
    until(server)
    scores = lm.evaluate(paths, METRICS)
    metric = METRICS[0]
    worst = lm.worst(scores, metric, n=12)
    found = told(server, "rows", sort=metric, shown=metric, limit=4)
    assert found["total"] == 12
    assert [row["sample"] for row in found["rows"]] == worst["sample"].tolist()[:4]
    assert [row["scores"] for row in found["rows"]] == [[value] for value in worst["value"][:4]]
    # Scores that are undefined come last, whichever way the others are sorted.
    last = told(server, "rows", sort=metric, falling=1, shown=metric, limit=4, offset=10)["rows"]
    assert {row["status"] for row in last} == {"checksum", "incomplete"}
    assert told(server, "rows", status="checksum")["rows"][0]["position"] == 2
    high = told(server, "rows", metric=metric, low=0.5, shown=metric)["rows"]
    assert 0 < len(high) == int((scores[metric] >= 0.5).sum())
    assert [row["file"] for row in told(server, "rows", text="PGD 16")["rows"]] == [1]
    assert told(server, "rows", only=1)["total"] == 6
    around = told(server, "rows", only=1, file=1, position=5, limit=2)
    assert (around["place"], around["offset"]) == (5, 4)
    assert told(server, "rows", only=0, file=1, position=5)["place"] is None


def test_points_of_a_scatter(server: Server) -> None:
    until(server)
    status, headers, body = get(server, "points", x=METRICS[0], y=METRICS[2])
    assert (status, headers["x-total"]) == (200, "10")
    values = np.frombuffer(body[: 2 * 8 * 10], "<f8").reshape(2, 10)
    places = np.frombuffer(body[2 * 8 * 10 :], "<i4").reshape(2, 10)
    assert (np.diff(values[0]) >= 0).all()
    for (x, y), (file, position) in zip(values.T, places.T.tolist(), strict=True):
        row = told(server, "rows", shown=METRICS[0], file=file, position=position, limit=1)["rows"][0]
        assert (row["file"], row["position"], row["scores"]) == (file, position, [x])
        assert -1 <= y <= 1


@pytest.mark.parametrize(
    ("path", "asked", "sentence"),
    [
        ("scores", {"file": 0, "position": 1, "k": 43, "w": 1}, "k must be from 1 to 42, the pixels of"),
        ("scores", {"file": 0, "position": 1, "k": "1e2", "w": 1}, "k must be an integer from 1 to"),
        ("scores", {"file": 0, "position": 1, "k": 5}, "w must be an integer from 0 to"),
        ("scores", {"file": 0, "position": 1, "k": 5, "w": 2**30}, "w must be an integer from 0 to 16777216"),
        ("maps", {"file": 2, "position": 0}, "file must be an integer from 0 to 1, got '2'"),
        ("maps", {"file": "../x", "position": 0}, "file must be an integer from 0 to 1, got '../x'"),
        ("maps", {"file": 0, "position": -1}, "position must be an integer from 0"),
        ("maps", {"file": 0, "position": 6}, "natural.h5 has 6 samples; there is none at position 6"),
        ("maps", {"file": 0, "position": 2}, "natural.h5, position 2: the maps of this sample do not match"),
        ("sample", {"file": 1, "position": 4}, "pgd.h5, position 4: this sample was never finished"),
        ("rows", {"sort": "nope"}, "the table has no column 'nope'; it has file, sample, name, status, lens"),
        ("rows", {"low": "x", "metric": "kendall"}, "low must be a number, got 'x'"),
        ("rows", {"limit": 10**9}, "limit must be an integer from 1 to 500"),
        ("points", {"x": "kendall"}, "the table has no column ''; it has lens_recall"),
        ("nothing", {}, "there is nothing of this name"),
        ("../../etc/passwd", {}, "there is nothing of this name"),
        ("static/../app.py", {}, "there is nothing of this name"),
    ],
)
def test_mistakes_get_a_sentence(server: Server, path: str, asked: dict[str, object], sentence: str) -> None:
    until(server)
    status, text = refused(server, path, **asked)
    assert status in (400, 404, 409)
    assert text.startswith(sentence)
    assert str(os.sep) * 2 not in text
    assert "/tmp" not in text


def test_only_get_with_the_token_under_the_right_name_is_answered(server: Server) -> None:
    parts = urllib.parse.urlsplit(server.address)
    path, port = parts.path, parts.port

    def ask(method: str, path: str, host: str) -> int:
        head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        return raw(server, head.encode())[0]

    good = f"127.0.0.1:{port}"
    assert ask("GET", path, good) == 200
    assert ask("GET", path, f"localhost:{port}") == 200
    assert ask("GET", path, f"localhost:{port + 1 if port else 1}") == 200  # a forwarded port
    for host in (
        "evil.com",
        f"evil.com:{port}",
        "127.0.0.1.evil.com",
        "localhost.evil.com",
        "",
        "[::1]x",
        "@",
    ):
        assert ask("GET", path, host) == 403, host
    for method in ("POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE"):
        assert ask(method, path, good) == 405, method
    for other in ("/", path[:-1], path[:-2] + "/", "/x/state", "/state", f"//{path}", f"/%2e{path}"):
        assert ask("GET", other, good) == 403, other
    for trick in ("..", "../", "%2e%2e/", "..%2f..%2fetc%2fpasswd", "index.html/", "static/", ".", "\\..\\x"):
        assert ask("GET", path + trick, good) == 404, trick
    two = f"GET {path} HTTP/1.1\r\nHost: {good}\r\nHost: evil.com\r\n\r\n"
    assert raw(server, two.encode())[0] in (400, 403)
    assert raw(server, f"GET {path} HTTP/1.0\r\n\r\n".encode())[0] == 403


def test_answers_say_what_browsers_may_do_with_them(server: Server) -> None:
    for path in ("", "state", "nothing"):
        headers = get(server, path)[1]
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'self'")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in headers


def test_tokens_are_long_and_new(server: Server, paths: list[Path]) -> None:
    token = urllib.parse.urlsplit(server.address).path.strip("/")
    assert len(token) == 32
    with Server(paths[:1]) as other:
        assert token not in other.address


def test_a_server_for_all_addresses_takes_addresses_but_no_foreign_names(paths: list[Path]) -> None:
    assert "localhost" in allowed_hosts("0.0.0.0")
    with Server(paths[:1], host="0.0.0.0") as server:
        path = urllib.parse.urlsplit(server.address).path
        local = server.address.replace(str(urllib.parse.urlsplit(server.address).hostname), "127.0.0.1")
        assert local != server.address
    assert re.fullmatch(r"/[\w-]{32}/", path)


def test_nothing_of_a_file_is_text_of_the_page(server: Server) -> None:
    """Texts of files travel as JSON alone, which no browser takes for a page."""
    status, headers, body = get(server, "state")
    assert (status, headers["content-type"]) == (200, "application/json")
    assert "<b>top & k</b>" in json.dumps(json.loads(body))
    assert b"<b>" not in get(server, "")[2]


def test_answers_are_sent_without_waiting_for_more(server: Server) -> None:
    """Else the end of an answer waits 40 ms until the browser acknowledges its beginning."""
    listening = server._socket
    assert listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
