"""Two writers of one file: one finishes, the other is refused in a sentence."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import lensmetrics as lm
from lensmetrics.pairfile.store import PairStore
from lensmetrics.pairfile.verification import verify
from tests.pairfile.faults import SEED, SHAPE, Helper, maps_of, once


def _new(path: Path, value: float, at: float) -> str:
    time.sleep(max(0.0, at - time.monotonic()))
    with lm.PairWriter(path, n_samples=4, shape=SHAPE, attrs={}) as writer:
        return _fill_with(writer, value)


def _again(path: Path, value: float, at: float) -> str:
    time.sleep(max(0.0, at - time.monotonic()))
    with lm.PairWriter.resume(path, {}) as writer:
        return _fill_with(writer, value)


def _fill_with(writer: lm.PairWriter, value: float) -> str:
    for i in writer.missing.tolist():
        writer.write(i, np.full(SHAPE, value), np.full(SHAPE, -value))
    return "wrote"


def _half(path: Path) -> None:
    with contextlib.suppress(KeyError), lm.PairWriter(path, n_samples=4, shape=SHAPE, attrs={}) as writer:
        writer.write(0, np.zeros(SHAPE), np.zeros(SHAPE))
        raise KeyError


@once
@pytest.mark.parametrize("first", [_new, _again])
@pytest.mark.parametrize("second", [_new, _again])
def test_two_writers(
    tmp_path: Path,
    two_helpers: tuple[Helper, Helper],
    first: Callable[..., str],
    second: Callable[..., str],
) -> None:
    rng = np.random.default_rng(SEED)
    for i in range(25):
        path = tmp_path / f"{i}.h5"
        if _again in (first, second):
            _half(path)
        at = time.monotonic() + 0.01
        for number, (helper, function) in enumerate(zip(two_helpers, (first, second), strict=True)):
            helper.send(function, path, number + 1.0, at + float(rng.uniform(0, 0.004)))
        answers = [helper.receive() for helper in two_helpers]
        for answer in answers:
            assert answer[0] in ("value", "error"), (i, answers)
            if answer[0] == "error":
                assert issubclass(answer[1], FileExistsError | BlockingIOError | FileNotFoundError), (
                    i,
                    answers,
                )
                assert "\n" not in answer[2]
                assert path.name in answer[2], (i, answers)
        n_wrote = sum(answer[0] == "value" for answer in answers)
        if n_wrote == 0 and path.with_name(path.name + ".part").exists():
            # Each saw the other for a moment; nothing is lost.
            _again(path, 3.0, 0)
        else:
            assert n_wrote == 1, (i, answers)
        assert verify(path) == [], i
        unperturbed = PairStore(path).read_block(0, 4)[0]
        values = np.unique(unperturbed[1:]).tolist()
        assert len(values) == 1, (i, answers, values)
        assert sorted(
            file.name for file in tmp_path.iterdir() if file.name.startswith((f"{i}.", f".{i}."))
        ) == [path.name], i


def test_two_writers_in_one_process(tmp_path: Path) -> None:
    _half(tmp_path / "a.h5")
    with lm.PairWriter.resume(tmp_path / "a.h5", {}) as writer:
        with pytest.raises(BlockingIOError, match=r"a\.h5\.part is being written by another process"):
            lm.PairWriter.resume(tmp_path / "a.h5", {})
        _fill_with(writer, 1.0)
    assert verify(tmp_path / "a.h5") == []


@pytest.mark.parametrize("finished", [True, False])
def test_a_resume_that_another_one_overtakes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finished: bool
) -> None:
    path = tmp_path / "a.h5"
    _half(path)

    def overtaken(part: Path) -> list[tuple[int, int, str]]:
        monkeypatch.undo()
        found = verify(part)
        with contextlib.suppress(KeyError), lm.PairWriter.resume(path, {}) as other:
            other.write(2, np.ones(SHAPE), np.ones(SHAPE))
            if not finished:
                raise KeyError
        return found

    monkeypatch.setattr("lensmetrics.pairfile.resuming.verify", overtaken)
    with pytest.raises(BlockingIOError, match=r"a\.h5\.part is being written by another process"):
        lm.PairWriter.resume(path, {})
    with lm.PairWriter.resume(path, {}) as writer:
        assert writer.missing.tolist() == [1, 3]


def test_file_created_by_another_process_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    maps = maps_of(1)[:, 0]
    writer = lm.PairWriter(path, n_samples=1, shape=SHAPE, attrs={})
    writer.write(0, *maps)
    path.write_text("mine")
    with (
        pytest.raises(
            FileExistsError, match=r"another process created .*a\.h5 in the meantime; your data is in"
        ),
        writer,
    ):
        pass
    assert path.read_text() == "mine"
    assert verify(tmp_path / "a.h5.part") == []
    path.unlink()
    (tmp_path / "a.h5.part").rename(tmp_path / "other")
    first = lm.PairWriter(path, n_samples=1, shape=SHAPE, attrs={})
    (tmp_path / "other").rename(path)
    with pytest.raises(FileExistsError, match=r"another process created .*a\.h5 in the meantime"), first:
        first.write(0, *maps)
    assert [file.name for file in tmp_path.iterdir()] == ["a.h5"]
    assert verify(path) == []
