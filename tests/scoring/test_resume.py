"""Interrupted runs: whatever ends one, going on gives the table of a run that nothing interrupted."""

import base64
import errno
import fcntl
import json
import math
import os
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

import lensmetrics as lm
from lensmetrics.disk import lock
from lensmetrics.scoring import files as runner
from lensmetrics.scoring import worker as scoring
from lensmetrics.scoring.journal import Journal, slice_key
from lensmetrics.scoring.worker import SliceScores
from tests.scoring.test_runner import flip_byte, study, user_metric, write_file

__all__ = ["study", "user_metric"]  # fixtures

METRICS = ["kendall", "lens_recall_adjusted(k=5,w=1)"]
N_TASKS = 10  # of the study, with two samples of its smallest map in a task


@pytest.fixture(autouse=True)
def small_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "_TASK_PIXELS", 2 * 42)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "scores.parquet"


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """File and first position of every slice that is scored, as it happens."""
    slices = []
    original = scoring._score_blocks

    def score_slice(part: Any, *others: Any) -> SliceScores:
        slices.append((part.path.name, part.start))
        return original(part, *others)

    monkeypatch.setattr(scoring, "_score_blocks", score_slice)
    return slices


@pytest.fixture(params=["here", "threads"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor | None]:
    if request.param == "here":
        yield None
        return
    with ThreadPoolExecutor(3) as threads:
        yield threads


def interrupted(paths: Sequence[Path], output: Path, n: int, *, resume: bool = False) -> None:
    """Score until n more slices are kept and one more is done."""
    left = iter(range(n))
    original = Journal.add

    def add(self: Journal, key: str, scores: SliceScores) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        original(self, key, scores)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "add", add)
        with pytest.raises(KeyboardInterrupt) as caught:
            lm.evaluate(paths, METRICS, output=output, resume=resume)
    kept = n > 0 or resume
    assert (len(getattr(caught.value, "__notes__", [])), part_of(output).exists()) == (int(kept), kept)


def part_of(output: Path) -> Path:
    return output.with_name(output.name + ".part")


def assert_same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(found, expected, check_exact=True)


# What is kept


@pytest.mark.parametrize("n", range(N_TASKS))
@pytest.mark.parametrize("name", ["scores.parquet", "scores.csv"])
def test_a_resumed_run_equals_an_uninterrupted_one(
    study: list[Path], tmp_path: Path, executor: Executor | None, scored: list[Any], n: int, name: str
) -> None:
    expected = lm.evaluate(study, METRICS, output=tmp_path / f"whole_{name}")
    assert_same(expected, lm.evaluate(study, METRICS))
    interrupted(study, tmp_path / name, n)
    assert not (tmp_path / name).exists()
    scored.clear()
    found = lm.evaluate(study, METRICS, output=tmp_path / name, resume=True, executor=executor)
    assert len(set(scored)) == len(scored) == N_TASKS - n
    assert_same(found, expected)
    assert (tmp_path / name).read_bytes() == (tmp_path / f"whole_{name}").read_bytes()
    assert {path.name for path in tmp_path.iterdir() if path.suffix != ".h5"} == {name, f"whole_{name}"}


def test_runs_may_be_interrupted_again_and_again(study: list[Path], output: Path, scored: list[Any]) -> None:
    expected = lm.evaluate(study, METRICS)
    interrupted(study, output, 2)
    scored.clear()
    for n in (3, 0, 4):
        interrupted(study, output, n, resume=True)
    assert_same(lm.evaluate(study, METRICS, output=output, resume=True), expected)
    assert len(scored) == N_TASKS - 2 + 3  # those that were in work


@pytest.mark.parametrize("damage", ["cut", "flip", "blank"])
def test_damage_of_the_journal_costs_time_only(study: list[Path], output: Path, damage: str) -> None:
    expected = lm.evaluate(study, METRICS)
    interrupted(study, output, 6)
    whole = part_of(output).read_bytes()
    for at in range(0, len(whole), 53):
        data = whole[:at] if damage == "cut" else bytearray(whole)
        if isinstance(data, bytearray):
            data[at] = data[at] ^ 0x10 if damage == "flip" else ord("\n")
        part_of(output).write_bytes(data)
        interrupted(study, output, 1, resume=True)  # what is added comes after the damage
        assert_same(lm.evaluate(study, METRICS, output=output, resume=True), expected)
        output.unlink()


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"null", b"5", b"[1", b"\xff", b'["a", ["ok"]]', b'[["a"], ["ok"], "AAAAAAAAAAA=", false]'),
        *(b'["a", 5, "AAAAAAAAAAA=", false]', b'["a", [5], "AAAAAAAAAAA=", false]'),
        *(b'["a", ["ok"], {}, false]', b'["a", ["ok"], "A", false]', b'["a", ["ok"], "AAAA", false]'),
        *(b'["a", [], "AAAAAAAAAAA=", false]', b'["a", ["ok", "ok"], "AAAAAAAAAAA=", false]'),
        *(b'["a", ["ok"], "AAAAAAAAAAA="]', b'["a", ["ok"], "AAAAAAAAAAA=", 1]'),
    ],
)
def test_a_sound_line_that_says_something_else_is_left_out(output: Path, text: bytes) -> None:
    with Journal(output) as journal:
        journal.add("b", SliceScores(np.ones((1, 1)), ["ok"]))
    with part_of(output).open("ab") as file:
        file.write(b"%08x %s\n" % (zlib.crc32(text), text))
    with Journal(output, resume=True) as journal:
        assert list(journal.done) == ["b"]


def test_a_table_with_a_changed_score_is_scored_again(
    study: list[Path], output: Path, scored: list[Any]
) -> None:
    expected = lm.evaluate(study[1], METRICS, output=output)
    data = output.read_bytes()
    value = expected[METRICS[0]].to_numpy()[0].tobytes()
    assert data.count(value) >= 1
    output.write_bytes(data.replace(value, (-expected[METRICS[0]].to_numpy()[0]).tobytes()))
    scored.clear()
    assert_same(lm.evaluate(study[1], METRICS, output=output, resume=True), expected)
    assert scored


@pytest.mark.parametrize("name", ["eqs", "pearson"])
def test_another_column_of_numbers_is_not_taken_for_scores(
    study: list[Path], output: Path, scored: list[Any], name: str
) -> None:
    expected = lm.evaluate(study[:2], METRICS, output=output)
    table = pa.parquet.read_table(output)
    other = table.add_column(1, name, pa.array(np.ones(len(table))))
    pa.parquet.write_table(other, output)
    scored.clear()
    assert_same(lm.evaluate(study[:2], METRICS, output=output, resume=True), expected)
    # Numbers that are no scores do not matter; scores that the run did not write do.
    assert bool(scored) == (name == "pearson")


def restore_times(path: Path, change: Callable[[Path], object]) -> None:
    before = path.stat()
    change(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace(path: Path, **options: Any) -> None:
    path.unlink()
    write_file(path, 7, labels=True, **options)


CHANGES: dict[str, Callable[[Path], object]] = {
    "touched": lambda path: os.utime(path, ns=(1, 1)),
    "a map": lambda path: restore_times(path, lambda path: flip_byte(path, "unperturbed", 0)),
    "a label": lambda path: restore_times(path, lambda path: flip_byte(path, "label", 6 * 8)),
    "other maps": lambda path: replace(path, seed=9),
    "another reduction": lambda path: replace(path, seed=1, attrs={"reduction": "sum"}, channels=2),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("finished", [True, False])
def test_what_changed_is_scored_again(
    study: list[Path], output: Path, scored: list[Any], change: str, finished: bool
) -> None:
    if finished:
        lm.evaluate(study, METRICS, output=output)
    else:
        interrupted(study, output, N_TASKS - 1)
    CHANGES[change](study[0])
    scored.clear()
    found = lm.evaluate(study, METRICS, output=output, resume=True)
    assert {name for name, _ in scored} == {study[0].name} | (set() if finished else {study[3].name})
    assert_same(found, lm.evaluate(study, METRICS))


def test_other_metrics_and_other_versions_score_all_again(
    study: list[Path], output: Path, scored: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    lm.evaluate(study, METRICS, output=output)
    for metrics in (METRICS[::-1], METRICS[:1], [METRICS[0], "lens_recall_adjusted(k=5,w=2)"]):
        scored.clear()
        found = lm.evaluate(study, metrics, output=output, resume=True)
        assert len(scored) == N_TASKS
        assert_same(found, lm.evaluate(study, metrics))
    for module in (runner, scoring):
        monkeypatch.setattr(module, "__version__", "0.0.0")
    scored.clear()
    lm.evaluate(study, metrics, output=output, resume=True)
    assert len(scored) == N_TASKS


def test_a_finished_table_is_gone_on_with(study: list[Path], output: Path, scored: list[Any]) -> None:
    expected = lm.evaluate(study, METRICS)
    lm.evaluate(study[1:3], METRICS, output=output)
    scored.clear()
    assert_same(lm.evaluate(study, METRICS, output=output, resume=True), expected)
    assert {name for name, _ in scored} == {study[0].name, study[3].name}
    scored.clear()
    assert_same(lm.evaluate(study, METRICS, output=output, resume=True), expected)
    reverse = lm.evaluate(study[::-1], METRICS, output=output, resume=True)
    assert not scored
    assert_same(reverse, lm.evaluate(study[::-1], METRICS))


def test_a_table_that_does_not_say_of_what_is_scored_again(
    study: list[Path], output: Path, scored: list[Any]
) -> None:
    expected = lm.evaluate(study, METRICS)
    expected.to_parquet(output)
    scored.clear()
    assert_same(lm.evaluate(study, METRICS, output=output, resume=True), expected)
    assert len(scored) == N_TASKS


def test_nothing_is_taken_from_version_0_1_0(study: list[Path], output: Path, scored: list[Any]) -> None:
    """Its rules gave other numbers. Slices were named after the version, and described as here."""
    metrics = tuple(METRICS)
    expected = lm.evaluate(study, METRICS)
    wrong = expected.assign(**dict.fromkeys(METRICS, 0.5))
    slices, lines = [], []
    for path in study:
        store, found = lm.PairStore(path), path.stat()
        identity = found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
        length = max(1, 84 // math.prod(store.shape))
        for start in range(0, len(store), length):
            stop = min(start + length, len(store))
            key = slice_key("0.1.0", metrics, identity, store.fingerprint, start, stop)
            status, values = ["ok"] * (stop - start), np.full((stop - start, 2), 0.5)
            crc = zlib.crc32(json.dumps(status).encode(), zlib.crc32(values.astype("<f8").tobytes()))
            slices.append((key, stop - start, crc))
            text = json.dumps([key, status, base64.b64encode(values.tobytes()).decode()]).encode()
            lines.append(b"%08x %s\n" % (zlib.crc32(text), text))
    assert len(slices) == N_TASKS
    lm.write_scores(wrong.assign(status="ok"), output, metadata={"lensmetrics_slices": json.dumps(slices)})
    part_of(output).write_bytes(b"".join(lines))
    scored.clear()
    assert_same(lm.evaluate(study, METRICS, output=output, resume=True), expected)
    assert len(scored) == N_TASKS


def test_an_error_keeps_what_is_scored(tmp_path: Path, output: Path, user_metric: str) -> None:
    write_file(tmp_path / "a.h5", 5)
    with lm.PairWriter(tmp_path / "b.h5", n_samples=1, shape=(6, 7), attrs={}) as writer:
        writer.write(0, np.full((6, 7), -99.0), np.ones((6, 7)))
    paths, metrics = [tmp_path / "a.h5", tmp_path / "b.h5"], f"{user_metric}(level=50)"
    with pytest.raises(RuntimeError, match="user's own") as caught:
        lm.evaluate(paths, metrics, output=output)
    assert "scores.parquet.part" in caught.value.__notes__[-1]
    assert len(part_of(output).read_bytes().splitlines()) == 3
    with pytest.raises(
        FileExistsError, match=r"scores.parquet.part holds .* unfinished run.*--resume.*delete"
    ):
        lm.evaluate(paths, metrics, output=output)
    assert len(part_of(output).read_bytes().splitlines()) == 3


def test_on_bad_does_not_show_in_what_is_kept(study: list[Path], output: Path, scored: list[Any]) -> None:
    interrupted(study, output, N_TASKS - 1)
    scored.clear()
    found, failures = runner.score_files(study, METRICS, output=output, resume=True, on_bad="stop")
    assert [failure.path for failure in failures] == [study[0], study[2], study[3]]
    assert scored == []
    assert found is not None
    assert_same(found, lm.evaluate(study[1], METRICS))


# One process at a time

HOLD = """
import sys, time
from lensmetrics.scoring.journal import Journal
with Journal(sys.argv[1]):
    print("locked", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_until_the_first_has_ended(study: list[Path], output: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(output)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        for resume in (False, True):
            with pytest.raises(BlockingIOError, match=r"scores.parquet is being written by another process"):
                lm.evaluate(study, METRICS, output=output, resume=resume)
        other.kill()
    assert part_of(output).exists()
    lm.evaluate(study, METRICS, output=output)
    assert not part_of(output).exists()


def test_the_lock_is_not_taken_on_a_journal_that_is_gone(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Journal(output)
    original = fcntl.flock

    def flock(*arguments: Any) -> None:
        if not first._file.closed:  # the other process ends between our opening and our locking
            first.__exit__(None, None, None)
        original(*arguments)

    monkeypatch.setattr(fcntl, "flock", flock)
    with Journal(output):
        assert part_of(output).exists()
        with pytest.raises(BlockingIOError):
            Journal(output)
    assert not part_of(output).exists()


def test_a_file_system_without_locks_is_said(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with (
        pytest.warns(UserWarning, match=r"scores.parquet lies on a file system without locks"),
        Journal(output),
    ):
        pass


def test_a_system_without_locks_is_said(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unavailable(*_: object, **__: object) -> bool:
        raise OSError(errno.ENOSYS, "no locks")  # as filelock says it without fcntl

    monkeypatch.setattr("filelock.lock_descriptor", unavailable)
    with output.open("wb") as file:
        assert lock(file) is False
    output.unlink()
    with (
        pytest.warns(UserWarning, match=r"scores.parquet lies on a file system without locks"),
        Journal(output),
    ):
        pass


def test_a_full_disk_is_said(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(output)
    journal._file.close()
    monkeypatch.setattr(journal, "_file", SimpleNamespace(write=lambda _: 7))  # of all bytes, these find room
    with pytest.raises(OSError, match=r"part cannot be written \(No space left.*\): make room, .*--resume"):
        journal.add(slice_key(1), SliceScores(np.zeros((2, 1)), ["ok", "ok"]))


# Signals

PYTHON = [sys.executable, "-W", "error", "-W", "ignore:overflow encountered in scalar", "-m", "lensmetrics"]


@pytest.fixture
def long_files(tmp_path: Path) -> list[str]:
    """Names of files with some seconds of work in many tasks."""
    names = [f"{i:02}.h5" for i in range(100)]
    for i, name in enumerate(names):
        unperturbed, perturbed = np.random.default_rng(i).normal(size=(2, 60, 28, 28))
        with lm.PairWriter(tmp_path / name, n_samples=60, shape=(28, 28), attrs={"eps": i}) as writer:
            writer.write(slice(0, 60), unperturbed, perturbed)
    return names


LONG_METRICS = ["lens_kendall(w=2)", "ssim"]


def start(folder: Path, files: list[str], *words: str) -> "subprocess.Popen[str]":
    command = [*PYTHON, "score", *files, "-m", *LONG_METRICS, "-o", "s.parquet", *words]
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def wait_for(n: int, part: Path, process: "subprocess.Popen[str]") -> None:
    """Wait until the journal has n lines."""
    while not part.exists() or part.read_bytes().count(b"\n") < n:
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)


@pytest.mark.large
def test_a_second_interrupt_ends_at_once(tmp_path: Path, long_files: list[str]) -> None:
    for i in range(3):
        words = ["--workers", "2", *(["--resume"] if i else [])]
        with start(tmp_path, long_files, *words) as process:
            wait_for(2 * i + 2, tmp_path / "s.parquet.part", process)
            for _ in range(2):
                os.killpg(process.pid, signal.SIGINT)
                time.sleep(0.08)
            out, err = process.communicate(timeout=60)  # the pipes close only when all workers have ended
        assert out == ""
        assert process.returncode in (130, -signal.SIGINT)  # the second may come while Python itself ends
        assert err.startswith("lensmetrics: interrupted\n")


@pytest.mark.large
@pytest.mark.parametrize(
    ("workers", "signals"),
    [("1", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT]), ("2", [signal.SIGKILL])],
)
def test_signals_lose_the_slices_in_work(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    long_files: list[str],
    scored: list[Any],
    workers: str,
    signals: list[signal.Signals],
) -> None:
    part = tmp_path / "s.parquet.part"
    n = 0
    for i, sent in enumerate(signals):
        words = ["--workers", workers, *(["--resume"] if i else [])]
        with start(tmp_path, long_files, *words) as process:
            wait_for(n + 3, part, process)
            process.send_signal(sent)
            out, err = process.communicate(timeout=60)  # the pipes close only when all workers have ended
        assert out == ""
        if sent == signal.SIGKILL:
            assert (process.returncode, err) == (-sent, "")
        else:
            assert process.returncode == 130
            assert err.startswith("lensmetrics: interrupted\n")
            assert len(err.splitlines()) == 2
            assert "s.parquet.part" in err
        n = part.read_bytes().count(b"\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == [*long_files, "s.parquet.part"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runner, "_TASK_PIXELS", 2**23)  # as in the other processes
    found = lm.evaluate(long_files, LONG_METRICS, output="s.parquet", resume=True)
    assert len(scored) == len(long_files) - n
    assert_same(found, lm.evaluate(long_files, LONG_METRICS))
