"""The same table from a Dask cluster, whatever happens to its workers."""

import builtins
import os
import re
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import lensmetrics as lm
from lensmetrics.cli import main
from lensmetrics.scoring import runs
from lensmetrics.scoring import worker as scoring
from lensmetrics.scoring.files import score_files
from tests.scoring.test_runner import study, write_file

__all__ = ["study"]  # a fixture

METRICS = ["kendall", "lens_recall_adjusted(k=5,w=1)"]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=":0", silence_logs=50
    ) as cluster:
        yield cluster


@pytest.fixture
def client(cluster: Any) -> Iterator[Any]:
    with cluster.get_client() as client:
        client.wait_for_workers(2, timeout=60)
        yield client


@pytest.fixture
def small_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "_TASK_PIXELS", 42)


def after(n: int, act: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Act when n results have come back."""
    left = iter(range(n))
    original = runs.Run._note

    def note(self: Any, *arguments: Any) -> None:
        if next(left, None) == n - 1:
            act()
        original(self, *arguments)

    monkeypatch.setattr(runs.Run, "_note", note)


@pytest.mark.usefixtures("small_tasks")
def test_a_cluster_does_not_show(client: Any, study: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    expected = lm.evaluate(study, METRICS)
    monkeypatch.chdir(study[0].parent)  # which is not where the workers are
    paths = [path.name for path in study]
    found = lm.evaluate(paths, METRICS, executor=client.get_executor())
    pd.testing.assert_frame_equal(found, lm.evaluate(paths, METRICS), check_exact=True)
    pd.testing.assert_frame_equal(found.drop(columns="file"), expected.drop(columns="file"), check_exact=True)


class Forgetful(Executor):
    """Takes every second result apart as Dask's executor does if the worker that holds it dies just then."""

    def __init__(self) -> None:
        self.n = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        result = fn(*args, **kwargs)
        self.n += 1
        if self.n % 2:
            names = {"__name__": "distributed.cfexecutor", "result": result}
            with pytest.raises((TypeError, ValueError)) as caught:
                exec("typ, exc, tb = result", names)
            future.set_exception(caught.value)
        else:
            future.set_result(result)
        return future


@pytest.mark.usefixtures("small_tasks")
def test_lost_results_are_made_again(study: list[Path]) -> None:
    executor = Forgetful()
    found = lm.evaluate(study, METRICS, executor=executor)
    pd.testing.assert_frame_equal(found, lm.evaluate(study, METRICS), check_exact=True)
    assert executor.n > 2


@pytest.mark.usefixtures("small_tasks")
def test_workers_may_die_and_join(
    client: Any, cluster: Any, study: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(20):
        write_file(study[0].with_name(f"more{i}.h5"), 10, seed=i)
        study.append(study[0].with_name(f"more{i}.h5"))
    expected = lm.evaluate(study, METRICS)
    pids = list(client.run(os.getpid).values())
    after(5, lambda: os.kill(pids[0], signal.SIGKILL), monkeypatch)
    after(9, lambda: cluster.scale(3), monkeypatch)
    after(60, lambda: os.kill(pids[1], signal.SIGKILL), monkeypatch)
    found = lm.evaluate(study, METRICS, executor=client.get_executor())
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    client.wait_for_workers(3, timeout=60)
    assert not set(pids) & set(client.run(os.getpid).values())


def test_command(client: Any, study: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["score", *map(str, study), "-m", *METRICS, "--on-bad", "skip"]
    outputs = []
    for where in (["--workers", "1"], ["--dask", client.scheduler.address]):
        assert main([*words, *where, "-o", str(tmp_path / "s.csv")]) == 1
        out, err = capsys.readouterr()
        outputs.append((out, re.sub(r"in .*", "", err), (tmp_path / "s.csv").read_bytes()))
    assert outputs[0] == outputs[1]


class Elsewhere(Executor):
    """Runs each task at once on what calls itself another host, where `change` has happened to the files."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, change: Callable[[], object]) -> None:
        self.monkeypatch, self.change = monkeypatch, change

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        with self.monkeypatch.context() as patch:
            patch.setattr("socket.gethostname", lambda: "node7")
            self.change()
            try:
                future.set_result(fn(*args, **kwargs))
            except Exception as error:
                future.set_exception(error)
        return future


def test_paths_that_workers_do_not_see(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "laptop")
    paths = [tmp_path / "a.h5", tmp_path / "b.h5"]
    for path in paths:
        write_file(path, 3)
    hidden = tmp_path / "hidden.h5"
    executor = Elsewhere(monkeypatch, lambda: paths[0].rename(hidden) if paths[0].exists() else None)
    scores, ((path, error),) = score_files(paths, "kendall", executor=executor)
    assert path == paths[0]
    assert str(error) == (
        f"{path} is on laptop, but the worker on node7 does not see it: put the files where all workers find "
        "them under the same path"
    )
    assert scores is not None
    assert len(scores) == 3
    hidden.rename(paths[0])
    executor = Elsewhere(monkeypatch, lambda: write_other(paths[0]))
    _, ((path, error),) = score_files(paths, "kendall", executor=executor)
    assert re.match(rf"on the worker on node7: {re.escape(str(path))} was changed or replaced", str(error))


def test_workers_with_another_version_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [tmp_path / "a.h5", tmp_path / "b.h5"]
    for path in paths:
        write_file(path, 3)
    executor = Elsewhere(monkeypatch, lambda: monkeypatch.setattr(scoring, "__version__", "9.0"))
    with pytest.raises(RuntimeError, match=r"the worker on node7 has lensmetrics 9\.0, .* install the same"):
        lm.evaluate(paths, "kendall", executor=executor)


def write_other(path: Path) -> None:
    path.unlink()
    write_file(path, 3, seed=1)


def test_other_mistakes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_file(tmp_path / "a.h5", 3)
    words = ["score", str(tmp_path / "a.h5"), "-m", "kendall", "--dask", "tcp://127.0.0.1:9"]
    assert main([*words, "--workers", "2"]) == 2
    assert "--dask takes those of a cluster: give one of them" in capsys.readouterr().err
    original = builtins.__import__

    def without_dask(name: str, *others: Any) -> Any:
        if name == "distributed":
            raise ModuleNotFoundError("No module named 'distributed'")
        return original(name, *others)

    monkeypatch.setattr(builtins, "__import__", without_dask)
    assert main(words) == 2
    assert capsys.readouterr().err == (
        "lensmetrics: --dask needs Dask's own scheduler: pip install 'lensmetrics[distributed]'\n"
    )


def test_no_scheduler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr("lensmetrics.cli._DASK_SECONDS", 1)
    write_file(tmp_path / "a.h5", 3)
    for address, status in (("tcp://127.0.0.1:9", 1), ("nonsense://x", 1)):
        assert main(["score", str(tmp_path / "a.h5"), "-m", "kendall", "--dask", address]) == status
        err = capsys.readouterr().err
        assert re.match(f"lensmetrics: no Dask scheduler answers at {address} ", err)
        assert len(err.splitlines()) == 1
