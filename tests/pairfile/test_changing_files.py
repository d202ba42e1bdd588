"""Files that change while they are scored are left out in a sentence."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import lensmetrics as lm
from tests.pairfile.faults import SEED, Helper, command, once


def _large(path: Path, seed: int) -> None:
    maps = np.random.default_rng(seed).normal(size=(2, 1500, 28, 28)).astype(np.float32)
    with lm.PairWriter(path, n_samples=1500, shape=(28, 28), attrs={"attack": path.stem}) as writer:
        writer.write(slice(0, 1500), *maps)


CHANGES: dict[str, Callable[[Path, Path], object]] = {
    "deleted": lambda path, _: path.unlink(),
    "truncated": lambda path, _: os.truncate(path, path.stat().st_size // 2),
    "replaced": lambda path, other: Path(shutil.copy(other, path.with_name("new"))).replace(path),
    "overwritten": lambda path, other: shutil.copyfile(other, path),
}


@once
@pytest.mark.parametrize(("workers", "n"), [(1, 12), (2, 4)])
def test_files_that_change_while_scored(tmp_path: Path, helper: Helper, workers: int, n: int) -> None:
    kept, other, path = (tmp_path / f"{name}.h5" for name in ("kept", "other", "changed"))
    for seed, file in enumerate((kept, other)):
        _large(file, seed)
    metric = "lens_kendall(w=2)"
    wholes = [lm.evaluate(file, metric)[metric].tolist() for file in (kept, other)]
    words = ["score", path, kept, "-m", metric, "--workers", workers]
    n_left_out = 0
    rng = np.random.default_rng([SEED, workers])
    longest = 0.0
    for i in range(-2, n):
        shutil.copyfile(kept, path)
        output = tmp_path / f"{i}.csv"
        started = time.monotonic()
        helper.send(command, *words, "-o", output)
        kind = list(CHANGES)[i % len(CHANGES)]
        if i >= 0:
            time.sleep(float(rng.uniform(0, longest)))
            CHANGES[kind](path, other)
        answer = helper.receive()
        assert answer[0] == "value", (kind, i, answer)
        status, _, err = answer[1]
        table = lm.read_scores(output)
        values = {name: table[table["file"] == str(name)][metric].tolist() for name in (path, kept)}
        assert values[kept] == wholes[0], (kind, i)
        if i < 0:
            longest = (time.monotonic() - started) / 2  # of the last, which has all in memory
            assert status == 0
        elif values[path]:
            # It was read before it changed, or it was another whole file before it was opened.
            assert status == 0, (kind, i, err)
            assert values[path] in wholes[: 2 if "re" in kind or "over" in kind else 1], (kind, i)
            longest /= 2
        else:
            n_left_out += 1
            assert status == 1, (kind, i)
            assert "Traceback" not in err
            assert str(path) in err
    assert n_left_out >= n // 4
