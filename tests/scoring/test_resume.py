"""Interrupted runs: whatever ends one, resuming it produces the table of an uninterrupted run."""

import base64
import json
import math
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

import lensmetrics as lm
from lensmetrics.scoring.files import score_files
from lensmetrics.scoring.journal import Journal, slice_key
from lensmetrics.scoring.worker import SliceScores
from tests.pairfiles import flip_byte, write_file
from tests.scoring import runs

METRICS = ["kendall", "lens_recall_adjusted(k=5,w=1)"]
N_TASKS = 10  # of the study, with two samples of its smallest map in a task


# Two samples of the study's smallest map in a task.
evaluate = partial(runs.evaluate, task_pixels=2 * 42)


@pytest.fixture
def scored() -> runs.Watcher:
    return runs.Watcher()


@pytest.fixture(params=["here", "threads"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor | None]:
    if request.param == "here":
        yield None
        return
    with ThreadPoolExecutor(3) as threads:
        yield threads


def interrupt(n: int) -> runs.Watcher:
    """Interrupt a run once n slices are kept."""

    def act(n_scored: int) -> None:
        if n_scored == n:
            raise KeyboardInterrupt

    return runs.Watcher(act)


def interrupted(paths: Sequence[Path], output: Path, n: int, *, resume: bool = False) -> None:
    """Score until n more slices are kept."""
    with pytest.raises(KeyboardInterrupt) as caught:
        evaluate(paths, METRICS, output=output, resume=resume, progress=interrupt(n))
    kept = n > 0 or resume
    assert (len(getattr(caught.value, "__notes__", [])), part_of(output).exists()) == (int(kept), kept)


def part_of(output: Path) -> Path:
    return output.with_name(output.name + ".part")


def assert_same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(found, expected, check_exact=True)


@pytest.mark.parametrize("n", range(N_TASKS))
@pytest.mark.parametrize("name", ["scores.parquet", "scores.csv"])
def test_a_resumed_run_equals_an_uninterrupted_one(
    study: list[Path], tmp_path: Path, executor: Executor | None, scored: runs.Watcher, n: int, name: str
) -> None:
    expected = evaluate(study, METRICS, output=tmp_path / f"whole_{name}")
    assert_same(expected, evaluate(study, METRICS))
    interrupted(study, tmp_path / name, n)
    assert not (tmp_path / name).exists()
    output = tmp_path / name
    found = evaluate(study, METRICS, output=output, resume=True, executor=executor, progress=scored)
    assert len(set(scored.slices)) == len(scored.slices) == N_TASKS - n
    assert_same(found, expected)
    assert (tmp_path / name).read_bytes() == (tmp_path / f"whole_{name}").read_bytes()
    assert {path.name for path in tmp_path.iterdir() if path.suffix != ".h5"} == {name, f"whole_{name}"}


def test_runs_may_be_interrupted_repeatedly(study: list[Path], output: Path, scored: runs.Watcher) -> None:
    expected = evaluate(study, METRICS)
    interrupted(study, output, 2)
    for n in (3, 0, 4):
        interrupted(study, output, n, resume=True)
    assert_same(evaluate(study, METRICS, output=output, resume=True, progress=scored), expected)
    assert len(scored.slices) == N_TASKS - 2 - 3 - 4


@pytest.mark.parametrize("damage", ["cut", "flip", "blank"])
def test_damage_of_the_journal_costs_time_only(study: list[Path], output: Path, damage: str) -> None:
    expected = evaluate(study, METRICS)
    interrupted(study, output, 6)
    whole = part_of(output).read_bytes()
    for at in range(0, len(whole), 53):
        data = whole[:at] if damage == "cut" else bytearray(whole)
        if isinstance(data, bytearray):
            data[at] = data[at] ^ 0x10 if damage == "flip" else ord("\n")
        part_of(output).write_bytes(data)
        interrupted(study, output, 1, resume=True)  # what is added comes after the damage
        assert_same(evaluate(study, METRICS, output=output, resume=True), expected)
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
def test_a_sound_line_that_is_not_of_a_slice_is_left_out(output: Path, text: bytes) -> None:
    with Journal(output) as journal:
        journal.add("b", SliceScores(np.ones((1, 1)), ["ok"]))
    with part_of(output).open("ab") as file:
        file.write(b"%08x %s\n" % (zlib.crc32(text), text))
    with Journal(output, resume=True) as journal:
        assert list(journal.done) == ["b"]


def test_a_table_with_a_changed_score_is_scored_again(
    study: list[Path], output: Path, scored: runs.Watcher
) -> None:
    expected = evaluate(study[1], METRICS, output=output)
    data = output.read_bytes()
    value = expected[METRICS[0]].to_numpy()[0].tobytes()
    assert data.count(value) >= 1
    output.write_bytes(data.replace(value, (-expected[METRICS[0]].to_numpy()[0]).tobytes()))
    assert_same(evaluate(study[1], METRICS, output=output, resume=True, progress=scored), expected)
    assert scored.slices


@pytest.mark.parametrize("name", ["eqs", "pearson"])
def test_another_column_of_numbers_is_not_taken_for_scores(
    study: list[Path], output: Path, scored: runs.Watcher, name: str
) -> None:
    expected = evaluate(study[:2], METRICS, output=output)
    table = pa.parquet.read_table(output)
    other = table.add_column(1, name, pa.array(np.ones(len(table))))
    pa.parquet.write_table(other, output)
    assert_same(evaluate(study[:2], METRICS, output=output, resume=True, progress=scored), expected)
    # Numbers that are not scores do not matter; scores that the run did not write do.
    assert bool(scored.slices) == (name == "pearson")


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
    study: list[Path], output: Path, scored: runs.Watcher, change: str, finished: bool
) -> None:
    if finished:
        evaluate(study, METRICS, output=output)
    else:
        interrupted(study, output, N_TASKS - 1)
    CHANGES[change](study[0])
    found = evaluate(study, METRICS, output=output, resume=True, progress=scored)
    assert {name for name, _ in scored.slices} == {study[0].name} | (set() if finished else {study[3].name})
    assert_same(found, evaluate(study, METRICS))


def test_other_metrics_and_other_versions_score_all_again(
    study: list[Path], output: Path, scored: runs.Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate(study, METRICS, output=output)
    for metrics in (METRICS[::-1], METRICS[:1], [METRICS[0], "lens_recall_adjusted(k=5,w=2)"]):
        found = evaluate(study, metrics, output=output, resume=True, progress=scored)
        assert len(scored.slices) == N_TASKS
        assert_same(found, evaluate(study, metrics))
    for module in ("files", "worker"):
        monkeypatch.setattr(f"lensmetrics.scoring.{module}.__version__", "0.0.0")
    evaluate(study, metrics, output=output, resume=True, progress=scored)
    assert len(scored.slices) == N_TASKS


def test_a_finished_table_is_extended(study: list[Path], output: Path, scored: runs.Watcher) -> None:
    expected = evaluate(study, METRICS)
    evaluate(study[1:3], METRICS, output=output)
    assert_same(evaluate(study, METRICS, output=output, resume=True, progress=scored), expected)
    assert {name for name, _ in scored.slices} == {study[0].name, study[3].name}
    assert_same(evaluate(study, METRICS, output=output, resume=True, progress=scored), expected)
    assert not scored.slices
    reverse = evaluate(study[::-1], METRICS, output=output, resume=True, progress=scored)
    assert not scored.slices
    assert_same(reverse, evaluate(study[::-1], METRICS))


def test_a_table_without_keys_of_slices_is_scored_again(
    study: list[Path], output: Path, scored: runs.Watcher
) -> None:
    expected = evaluate(study, METRICS)
    expected.to_parquet(output)
    assert_same(evaluate(study, METRICS, output=output, resume=True, progress=scored), expected)
    assert len(scored.slices) == N_TASKS


def test_nothing_is_reused_from_version_0_1_0(study: list[Path], output: Path, scored: runs.Watcher) -> None:
    """Its metrics returned other numbers. Slices were named after the version, and described as here."""
    metrics = tuple(METRICS)
    expected = evaluate(study, METRICS)
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
    assert_same(evaluate(study, METRICS, output=output, resume=True, progress=scored), expected)
    assert len(scored.slices) == N_TASKS


def test_an_error_keeps_what_is_scored(tmp_path: Path, output: Path, user_metric: str) -> None:
    write_file(tmp_path / "a.h5", 5)
    with lm.PairWriter(tmp_path / "b.h5", n_samples=1, shape=(6, 7), attrs={}) as writer:
        writer.write(0, np.full((6, 7), -99.0), np.ones((6, 7)))
    paths, metrics = [tmp_path / "a.h5", tmp_path / "b.h5"], f"{user_metric}(level=50)"
    with pytest.raises(RuntimeError, match="user's own") as caught:
        evaluate(paths, metrics, output=output)
    assert "scores.parquet.part" in caught.value.__notes__[-1]
    assert len(part_of(output).read_bytes().splitlines()) == 3
    with pytest.raises(
        FileExistsError, match=r"scores.parquet.part holds .* unfinished run.*--resume.*delete"
    ):
        evaluate(paths, metrics, output=output)
    assert len(part_of(output).read_bytes().splitlines()) == 3


def test_bad_samples_do_not_change_what_is_kept(
    study: list[Path], output: Path, scored: runs.Watcher
) -> None:
    interrupted(study, output, N_TASKS - 1)
    found, failures = score_files(
        study, METRICS, output=output, resume=True, progress=scored, task_pixels=2 * 42
    )
    assert [failure.path for failure in failures] == [study[0], study[2], study[3]]
    assert scored.slices == []
    assert found is not None
    assert_same(found, evaluate(study[1], METRICS))
