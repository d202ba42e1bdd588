"""The cache of compiled code: kernels work whatever is wrong with it, with one warning."""

import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from numba.np import arraymath, linalg

import lensmetrics as lm
from lensmetrics import kernels
from lensmetrics.kernels import bits, compiling
from tests.conftest import IS_COMPILED
from tests.pairfiles import write_file

pytestmark = pytest.mark.skipif(not IS_COMPILED, reason="nothing is compiled")

COUNT = "import numpy as np; from lensmetrics.kernels.bits import n_ones; print(n_ones(np.uint64(7)))"


def call(folder: Path, code: str = COUNT) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder)}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )


def count(folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Call a kernel that finds its cache in this folder, as the first kernel of a process."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(folder))
    monkeypatch.setattr(compiling, "_warned", [])
    njit: Any = vars(compiling)["njit"]
    return int(njit(cache=True)(bits.n_ones.py_func)(np.uint64(7)))


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, bytes]:
    """Names and contents of the files of one kernel."""
    folder = tmp_path_factory.mktemp("kept")
    with pytest.MonkeyPatch.context() as patch:
        assert count(folder, patch) == 3
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "cut": lambda data: data[: len(data) // 2],
    "blank": lambda data: bytes(len(data)),
    "other": lambda data: b"junk" + data,
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", [".nbi", ".nbc"])
def test_damaged_code_is_compiled_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: dict[Path, bytes], kind: str, damage: str
) -> None:
    damaged = [name for name in kept if name.suffix == kind]
    assert len(damaged) == 1
    for name, data in kept.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(DAMAGES[damage](data) if name in damaged else data)
    with pytest.warns(RuntimeWarning) as caught:
        assert count(tmp_path, monkeypatch) == 3
    (warning,) = caught
    assert f"the compiled code in {tmp_path / damaged[0].parent} is damaged" in str(warning.message)
    assert count(tmp_path, monkeypatch) == 3  # without a warning


def test_a_full_disk_only_costs_time(tmp_path: Path) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)); import signal; "
    limit += "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    done = call(tmp_path, limit + COUNT)
    assert (done.returncode, done.stdout) == (0, "3\n")
    assert done.stderr.count("compiled code cannot be kept in") == 1
    assert "set the environment variable NUMBA_CACHE_DIR to another folder" in done.stderr


def test_no_place_for_the_cache_only_costs_time(tmp_path: Path) -> None:
    nowhere = "import numba.core.caching as c; c.CacheImpl._locator_classes = []; "
    nowhere += "c.CompileResultCacheImpl._locator_classes = []; "
    done = call(tmp_path, nowhere + COUNT)
    assert (done.returncode, done.stdout) == (0, "3\n")
    assert (
        done.stderr.count("compiled code can be kept neither beside the package nor in the home folder") == 1
    )
    assert not list(tmp_path.iterdir())


def test_the_command_works_with_a_damaged_cache(tmp_path: Path) -> None:
    write_file(tmp_path / "a.h5")
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    words = ["score", "a.h5", "-m", "mse", "-o", "s.csv"]

    def score() -> list[str]:
        command = [sys.executable, "-m", "lensmetrics", *words]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0
        expected = lm.evaluate(tmp_path / "a.h5", "mse")["mse"].tolist()
        assert lm.read_scores(tmp_path / "s.csv")["mse"].tolist() == expected
        return done.stderr.splitlines()

    assert len(score()) == 1
    for path in (tmp_path / "cache").rglob("*.nb*"):
        path.write_bytes(b"")
    lines = score()
    assert len(lines) == 2
    assert lines[0].startswith(f"lensmetrics: the compiled code in {tmp_path / 'cache'}")
    assert "is damaged" in lines[0]
    assert len(score()) == 1


def test_kernels_do_not_import_linear_algebra(tmp_path: Path) -> None:
    """It would take a fifth of a first call; compiled code of others still finds it."""
    code = "; import sys; print('scipy.linalg' in sys.modules); "
    code += "import numba; from numba.np import arraymath as a, linalg as b; "
    code += "print(numba.njit(lambda x: x @ x)(np.eye(2))[0], a.ensure_blas is b.ensure_blas)"
    done = call(tmp_path, COUNT + code)
    assert (done.stdout, done.stderr) == ("3\nFalse\n[1. 0.] True\n", "")


@pytest.mark.parametrize("missing", ["linalg", "linalg.ensure_blas", "arraymath"])
def test_kernels_do_without_a_name_of_numba(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    """What is kept from being imported is no part of numba's interface."""
    check = vars(linalg)["ensure_blas"]
    with monkeypatch.context() as patch:
        patch.delattr(f"numba.np.{missing}")
        if f"numba.np.{missing}" in sys.modules:
            patch.setitem(sys.modules, f"numba.np.{missing}", None)
        njit = runpy.run_path(compiling.__file__)["njit"]
    assert njit(cache=False)(bits.n_ones.py_func)(np.uint64(7)) == 3
    assert vars(linalg)["ensure_blas"] is vars(arraymath)["ensure_blas"] is check


def test_kernels_do_not_call_numba_directly() -> None:
    for path in Path(str(kernels.__file__)).parent.glob("*.py"):
        assert path.stem == "compiling" or "from numba import" not in path.read_text()
