"""The command explore: its address, its end, and its mistakes."""

import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

import lensmetrics as lm
from tests.cli.command import Run
from tests.pairfiles import write_file

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")


def test_it_prints_its_address_serves_and_ends_at_once(tmp_path: Path) -> None:
    write_file(tmp_path / "a.h5", 3)
    words = [sys.executable, "-m", "lensmetrics", "explore", str(tmp_path), "--no-browser", "--port", "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        address = process.stdout.readline()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{32}/\n", address)
        with urllib.request.urlopen(address.strip()) as answer:
            assert b"lensmetrics explore" in answer.read()
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        assert time.monotonic() - began < 15  # it takes a tenth of a second; other processes may be busy
    assert (process.returncode, out) == (130, "")
    # Without compilation, NumPy warns about integers that wrap around on purpose.
    lines = [line for line in err.splitlines() if "encountered in scalar" not in line]
    assert lines == ["open this address in a browser; Ctrl-C ends", "lensmetrics: interrupted"]


def test_mistakes_get_a_sentence(run: Run, tmp_path: Path) -> None:
    write_file(tmp_path / "a.h5", 3)
    path = str(tmp_path / "a.h5")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        sentence = f"lensmetrics: --port {port} is taken: use another one, or 0 for a free one\n"
        assert run("explore", path, "--no-browser", "--port", str(port)) == (2, "", sentence)
    assert run("explore", path, "--port", "70000")[2].endswith("must be from 0 to 65535, got 70000\n")
    status, _, err = run("explore", path, "--host", "192.0.2.1")
    assert (status, err.startswith("lensmetrics: cannot listen on --host 192.0.2.1 (")) == (2, True)
    status, _, err = run("explore", path, "--host", "no such name")
    assert (status, "--host no such name is no address of this machine: use 127.0.0.1" in err) == (2, True)
    assert run("explore", str(tmp_path / "b.h5"))[0] == 2
    status, _, err = run("explore", path, "--scores", path)
    assert (status, "it is an HDF5 file; score it first" in err) == (1, True)
    write_file(tmp_path / "other.h5", 2)
    lm.evaluate(tmp_path / "other.h5", "kendall", output=tmp_path / "other.parquet")
    status, _, err = run("explore", path, "--scores", str(tmp_path / "other.parquet"))
    assert (status, "no given pair file is one of the table of scores" in err) == (2, True)


@pytest.mark.parametrize("missing", ["starlette", "uvicorn"])
def test_without_the_server_it_says_what_to_install(missing: str, tmp_path: Path) -> None:
    write_file(tmp_path / "a.h5", 2)
    code = f"""
import sys
sys.modules[{missing!r}] = None
from lensmetrics.cli import main
sys.exit(main(["explore", {str(tmp_path)!r}]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "lensmetrics: explore needs a server: pip install 'lensmetrics[explore]'\n"


def test_a_browser_opens_only_in_a_window_before_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    from lensmetrics.cli import explore

    for name in ("SSH_CONNECTION", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    assert not explore._has_screen()
    monkeypatch.setenv("DISPLAY", ":0")
    assert explore._has_screen()
    monkeypatch.setenv("SSH_CONNECTION", "a b c d")
    assert not explore._has_screen()
