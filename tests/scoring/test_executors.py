"""The table does not depend on who scores, nor on how the work is cut."""

import multiprocessing
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

import lensmetrics as lm
from lensmetrics.pairs import block, known
from lensmetrics.scoring import executors
from tests.pairfiles import write_file
from tests.scoring.executors import BreaksDown, Inline, ReverseExecutor, UntilItFails
from tests.scoring.runs import METRICS, evaluate


@pytest.mark.parametrize(("task", "block"), [(1, 1), (2 * 42, 1), (3 * 42, 2 * 42), (2**23, 42), (42, 2**19)])
def test_result_is_independent_of_slicing(study: list[Path], task: int, block: int) -> None:
    expected = lm.evaluate(study, METRICS)
    found = evaluate(study, METRICS, task_pixels=task, block_pixels=block)
    pd.testing.assert_frame_equal(found, expected, check_exact=True)


def test_result_is_independent_of_executor(study: list[Path], process_pool: Executor) -> None:
    expected = lm.evaluate(study, METRICS)
    n_tasks = 4 + 2 + 3 + 1
    reverse = ReverseExecutor(n_tasks)
    with ThreadPoolExecutor(4) as threads:
        for executor in (threads, process_pool, reverse):
            found = evaluate(study, METRICS, executor=executor, task_pixels=2 * 42)
            pd.testing.assert_frame_equal(found, expected, check_exact=True)
    assert len(reverse.waiting) == n_tasks


@pytest.mark.parametrize(("n", "expected"), [(66, [65]), (64, [])])
def test_the_kernel_of_many_small_maps_is_compiled_before_the_work_is_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n: int, expected: list[int]
) -> None:
    write_file(tmp_path / "a.h5", n)
    called: list[int] = []
    before: list[int] = []
    survey = known.survey

    def counted(unperturbed: Any, perturbed: Any, asked: Any) -> Any:
        called.append(len(unperturbed))
        return survey(unperturbed, perturbed, asked)

    monkeypatch.setattr(block, "survey", counted)
    executor = Inline(0, lambda: before.extend(called))
    evaluate(tmp_path / "a.h5", "kendall", executor=executor, task_pixels=40 * 42)
    assert executor.n == 2
    assert before == expected


def test_threads_share_no_pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each pair is made and scored by one thread, and the values are those of one thread."""
    paths = [tmp_path / f"{i}.h5" for i in range(4)]
    for i, path in enumerate(paths):
        write_file(path, 40, (28, 28), seed=i)
    metrics = lm.lens_suite(k=60, windows=(1, 2, 3))
    expected = lm.evaluate(paths, metrics)
    made: list[tuple[lm.MapPair, int]] = []  # kept, so that no two have one address
    used: set[tuple[int, int]] = set()
    original_init, original = lm.MapPair.__init__, lm.MapPair.overlap

    def init(pair: lm.MapPair, *maps: Any) -> None:
        made.append((pair, threading.get_ident()))
        original_init(pair, *maps)

    def overlap(pair: lm.MapPair, k: int, w: int) -> Any:
        used.add((id(pair), threading.get_ident()))
        return original(pair, k, w)

    monkeypatch.setattr(lm.MapPair, "__init__", init)
    monkeypatch.setattr(lm.MapPair, "overlap", overlap)
    with ThreadPoolExecutor(8) as threads:
        found = evaluate(paths, metrics, executor=threads, task_pixels=28 * 28)
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    assert len({thread for _, thread in made}) > 1
    assert used <= {(id(pair), thread) for pair, thread in made}
    assert len(used) == len({pair for pair, _ in used}) == 1 + 160


@pytest.fixture(scope="module")
def process_pool() -> Iterator[Executor]:
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


def test_users_metric_runs_in_spawned_processes(
    tmp_path: Path, user_metric: str, process_pool: Executor
) -> None:
    paths = [tmp_path / "a.h5", tmp_path / "b.h5"]
    maps = np.concatenate([write_file(path, 3, seed=i)[0] for i, path in enumerate(paths)])
    metric = lm.get_metric(user_metric, level=50)
    scores = lm.evaluate(paths, [metric], executor=process_pool)
    assert scores[str(metric)].tolist() == maps.max(axis=(1, 2)).astype(float).tolist()


def test_error_in_a_worker_keeps_its_place(tmp_path: Path, user_metric: str, process_pool: Executor) -> None:
    paths = [tmp_path / "a.h5", tmp_path / "b.h5"]
    write_file(paths[0], 3)
    with lm.PairWriter(paths[1], n_samples=3, shape=(6, 7), attrs={}) as writer:
        for i in range(3):
            writer.write(i, np.full((6, 7), -99.0 if i == 1 else 1.0), np.ones((6, 7)), sample=70 + i)
    metrics = ["kendall", f"{user_metric}(level=50)"]
    for executor in (None, process_pool, ReverseExecutor(2)):
        with pytest.raises(RuntimeError, match="the user's own metric failed") as caught:
            evaluate(paths, metrics, executor=executor, block_pixels=1)
        assert caught.value.__notes__ == [
            f"while scoring {user_metric}(level=50) on sample 71 of {paths[1]}",
        ]


def test_error_cancels_tasks_that_have_not_started(tmp_path: Path, user_metric: str) -> None:
    write_file(tmp_path / "a.h5", 6)
    executor = UntilItFails()
    with pytest.raises(RuntimeError, match="the user's own metric failed"):
        evaluate(tmp_path / "a.h5", f"{user_metric}(level=0)", executor=executor, task_pixels=1)
    assert [future.cancelled() for future in executor.futures] == [False] + [True] * 5


def test_metrics_travel_to_spawned_processes(process_pool: Executor) -> None:
    metric = lm.get_metric("lens_recall", k=3, w=1)
    pair = np.eye(4), np.eye(4)[::-1]
    assert process_pool.submit(_score_one, metric, *pair).result() == (
        "lens_recall(k=3,w=1)",
        metric(lm.MapPair(*pair)),
        metric,
    )


def _score_one(metric: lm.Metric, *maps: npt.NDArray[Any]) -> tuple[str, float, lm.Metric]:
    assert lm.get_metric(metric.name, **metric.params) == metric
    return str(metric), metric(lm.MapPair(*maps)), metric


def test_futures_of_a_broken_pool_are_not_cancelled(study: list[Path]) -> None:
    """A cancelled future ends the thread of a process pool that would stop the other workers: it hangs."""
    executor = BreaksDown()
    with pytest.raises(BrokenExecutor, match="a worker died"):
        evaluate(study, "kendall", executor=executor, task_pixels=42)
    assert len(executor.futures) > 2
    assert not any(future.cancelled() for future in executor.futures)


def _begun_with() -> tuple[bool, int]:
    """Whether a worker had the compiler before its first call, and by which process it was started."""
    return "numba" in sys.modules, os.getppid()


FORKED = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere each worker is started anew")


@FORKED
def test_workers_share_what_one_process_has_imported() -> None:
    with executors.process_pool(2, []) as pool:
        assert pool is not None
        (ready, first), (_, second) = [pool.submit(_begun_with).result() for _ in range(2)]
    assert ready
    assert first == second != os.getpid()


@pytest.mark.parametrize("name", ["numba", "h5py", "pickle"])
def test_processes_import_nothing_from_the_folder_of_the_command(tmp_path: Path, name: str) -> None:
    """The folder of the maps may be somebody else's."""
    (tmp_path / f"{name}.py").write_text("open('imported', 'w').close()\nraise SystemExit(3)\n")
    for seed, path in enumerate(("a.h5", "b.h5")):
        write_file(tmp_path / path, 3, seed=seed)
    script = tmp_path / "scripts" / "command.py"
    script.parent.mkdir()
    script.write_text(
        "from lensmetrics.cli import main\n"
        "if __name__ == '__main__':\n"
        "    raise SystemExit(main(['score', 'a.h5', 'b.h5', '-m', 'kendall', '--workers', '2']))\n"
    )
    command = [sys.executable, str(script)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert not (tmp_path / "imported").exists(), done.stderr
    assert done.returncode == 0, done.stderr


def test_the_death_of_the_process_that_starts_workers_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(*_: object) -> None:
        raise EOFError("unexpected EOF")

    def submit() -> None:
        with executors.process_pool(2, []) as pool:
            assert pool is not None
            monkeypatch.setattr(ProcessPoolExecutor, "submit", end)
            pool.submit(os.getpid)

    with pytest.raises(RuntimeError, match="a worker process died, possibly out of memory"):
        submit()


def draw(folder: Path) -> tuple[int, float, float]:
    """Draw in two processes at once: no worker takes both calls."""
    (folder / str(os.getpid())).touch()
    deadline = time.monotonic() + 60
    while len(list(folder.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    return os.getpid(), np.random.random(), random.random()  # noqa: NPY002 - its state is what forks share


def test_workers_draw_different_random_numbers(tmp_path: Path) -> None:
    with executors.process_pool(2, []) as pool:
        assert pool is not None
        drawn = [pool.submit(draw, tmp_path) for _ in range(2)]
        pids, *numbers = zip(*(future.result() for future in drawn), strict=True)
    assert len(set(pids)) == 2
    for pair in numbers:
        assert len(set(pair)) == 2
