"""The same table from a Dask cluster, whatever happens to its workers."""

import builtins
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import lensmetrics as lm
from lensmetrics.cli import main
from lensmetrics.scoring.executors import dask_cluster, workers_of
from lensmetrics.scoring.files import score_files
from tests.pairfiles import write_file
from tests.scoring import runs

# A worker starts in seconds, but in a minute on a machine that runs much else.
WORKERS_SECONDS = 180
METRICS = ["kendall", "lens_recall_adjusted(k=5,w=1)"]
WITHOUT_LENSMETRICS = "import sys\nsys.modules['lensmetrics'] = None\n"

evaluate = partial(runs.evaluate, task_pixels=42)


def local_cluster(n_workers: int, **options: Any) -> Any:
    distributed = pytest.importorskip("distributed")
    return distributed.LocalCluster(
        n_workers=n_workers,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address=":0",
        silence_logs=50,
        **options,
    )


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with local_cluster(2) as cluster:
        yield cluster


@pytest.fixture
def client(cluster: Any) -> Iterator[Any]:
    with cluster.get_client() as client:
        client.wait_for_workers(2, timeout=WORKERS_SECONDS)
        yield client


def test_result_is_independent_of_cluster(
    client: Any, study: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = lm.evaluate(study, METRICS)
    monkeypatch.chdir(study[0].parent)  # which is not where the workers are
    paths = [path.name for path in study]
    found = evaluate(paths, METRICS, executor=client.get_executor())
    pd.testing.assert_frame_equal(found, lm.evaluate(paths, METRICS), check_exact=True)
    pd.testing.assert_frame_equal(found.drop(columns="file"), expected.drop(columns="file"), check_exact=True)


def test_results_survive_the_worker_that_holds_them(client: Any) -> None:
    workers = workers_of(client.get_executor(retries=1))
    futures = [workers.submit(divmod, i, 7) for i in range(40)]
    distributed = pytest.importorskip("distributed")
    distributed.wait(futures, timeout=WORKERS_SECONDS)
    os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)
    results = dict(workers.results(futures))
    assert [results[future] for future in futures] == [divmod(i, 7) for i in range(40)]
    client.wait_for_workers(2, timeout=WORKERS_SECONDS)


def test_workers_may_die_and_join(client: Any, cluster: Any, study: list[Path]) -> None:
    for i in range(20):
        write_file(study[0].with_name(f"more{i}.h5"), 10, seed=i)
        study.append(study[0].with_name(f"more{i}.h5"))
    expected = lm.evaluate(study, METRICS)
    pids = list(client.run(os.getpid).values())
    acts: dict[int, Callable[[], object]] = {
        5: lambda: os.kill(pids[0], signal.SIGKILL),
        9: lambda: cluster.scale(3),
        60: lambda: os.kill(pids[1], signal.SIGKILL),
    }
    watcher = runs.Watcher(lambda n: acts.get(n, lambda: None)())
    found = evaluate(study, METRICS, executor=client.get_executor(), progress=watcher)
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    client.wait_for_workers(3, timeout=WORKERS_SECONDS)
    assert not set(pids) & set(client.run(os.getpid).values())


def kills_its_worker(pair: lm.MapPair) -> float:
    """Stand in for a metric that takes more memory than there is, on the maps of one file.

    It dies once another slice is in the journal: a result that a worker has sent can die with the worker.
    """
    if threading.current_thread() is not threading.main_thread() and pair.unperturbed.max() == 99:
        journal, deadline = Path(os.environ["JOURNAL"]), time.monotonic() + 60
        while not (journal.exists() and journal.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.05)
        os._exit(1)
    return 1.0


@pytest.mark.usefixtures("own_metrics")
def test_a_slice_that_kills_its_workers_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lm.register(bounds=(0, 1), best=None)(kills_its_worker)
    write_file(tmp_path / "a.h5", 3)
    with lm.PairWriter(tmp_path / "b.h5", n_samples=1, shape=(6, 7), attrs={}) as writer:
        writer.write(0, np.full((6, 7), 99.0), np.ones((6, 7)))
    paths = [tmp_path / "a.h5", tmp_path / "b.h5"]
    monkeypatch.setenv("JOURNAL", str(tmp_path / "s.csv.part"))
    dask = pytest.importorskip("dask")
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        local_cluster(2) as cluster,
        cluster.get_client() as client,
    ):
        client.wait_for_workers(2, timeout=WORKERS_SECONDS)
        with pytest.raises(RuntimeError, match="workers repeatedly died on the same slice") as caught:
            lm.evaluate(paths, "kills_its_worker", executor=client.get_executor(), output=tmp_path / "s.csv")
    assert "s.csv.part" in caught.value.__notes__[-1]


def test_workers_without_lensmetrics_are_refused(study: list[Path], tmp_path: Path) -> None:
    preload = tmp_path / "preload.py"
    preload.write_text(WITHOUT_LENSMETRICS)
    with local_cluster(1, preload=[str(preload)]) as cluster, cluster.get_client() as client:
        client.wait_for_workers(1, timeout=WORKERS_SECONDS)
        message = rf"the worker at tcp.* does not have lensmetrics .*{lm.__version__}"
        with pytest.raises(RuntimeError, match=message):
            lm.evaluate(study, METRICS, executor=client.get_executor())


@pytest.fixture
def scheduler(request: pytest.FixtureRequest) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """Start a scheduler in a process of its own, after some code."""
    distributed = pytest.importorskip("distributed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    code = (
        f"{request.param}from distributed.cli.dask_scheduler import main\n"
        f"main(['--host', '127.0.0.1', '--port', '{port}', '--no-dashboard'])"
    )
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL) as process:
        address = f"tcp://127.0.0.1:{port}"
        with distributed.Client(address, timeout=WORKERS_SECONDS):
            pass
        yield address, process
        process.kill()


@pytest.mark.parametrize("scheduler", [WITHOUT_LENSMETRICS], indirect=True)
def test_a_scheduler_without_lensmetrics_is_refused(
    study: list[Path],
    scheduler: tuple[str, "subprocess.Popen[bytes]"],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["score", *map(str, study), "-m", "kendall", "--dask", scheduler[0]]) == 1
    waiting, message = capsys.readouterr().err.splitlines()
    assert waiting == f"lensmetrics: the scheduler at {scheduler[0]} has no workers yet; waiting for one"
    assert message.startswith("lensmetrics: the scheduler does not have lensmetrics (")


@pytest.mark.parametrize("scheduler", [""], indirect=True)
def test_a_lost_scheduler_is_reported(
    study: list[Path], scheduler: tuple[str, "subprocess.Popen[bytes]"]
) -> None:
    address, process = scheduler
    dask = pytest.importorskip("dask")
    watcher = runs.Watcher(lambda n: threading.Timer(1, process.kill).start() if n == 0 else None)
    with (
        dask.config.set({"distributed.comm.timeouts.connect": 1}),
        pytest.raises(ConnectionError, match=f"the connection to the Dask scheduler at {address} was lost"),
        dask_cluster(address) as executor,
    ):
        evaluate(study, METRICS, executor=executor, progress=watcher)


def test_command(client: Any, study: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["score", *map(str, study), "-m", *METRICS, "--on-bad", "skip"]
    outputs = []
    for where in (["--workers", "1"], ["--dask", client.scheduler.address]):
        assert main([*words, *where, "-o", str(tmp_path / "s.csv")]) == 1
        out, err = capsys.readouterr()
        outputs.append((out, re.sub(r"in .*", "", err), (tmp_path / "s.csv").read_bytes()))
    assert outputs[0] == outputs[1]


class Elsewhere(Executor):
    """Runs each task at once on what calls itself another host, after a change to the files."""

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
    upgrade = partial(monkeypatch.setattr, "lensmetrics.scoring.worker.__version__", "9.0")
    with pytest.raises(RuntimeError, match=r"the worker on node7 has lensmetrics 9\.0, .* install the same"):
        lm.evaluate(paths, "kendall", executor=Elsewhere(monkeypatch, upgrade))


def write_other(path: Path) -> None:
    path.unlink()
    write_file(path, 3, seed=1)


def test_other_mistakes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_file(tmp_path / "a.h5", 3)
    words = ["score", str(tmp_path / "a.h5"), "-m", "kendall", "--dask", "tcp://127.0.0.1:9"]
    assert main([*words, "--workers", "2"]) == 2
    assert "use either --workers (local processes) or --dask (a cluster)" in capsys.readouterr().err
    original = builtins.__import__

    def without_dask(name: str, *others: Any) -> Any:
        if name == "distributed":
            raise ModuleNotFoundError("No module named 'distributed'")
        return original(name, *others)

    monkeypatch.setattr(builtins, "__import__", without_dask)
    assert main(words) == 2
    assert capsys.readouterr().err == (
        "lensmetrics: --dask needs Dask's scheduler: pip install 'lensmetrics[distributed]'\n"
    )


def test_no_scheduler(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    distributed = pytest.importorskip("distributed")
    with (
        pytest.raises(ConnectionError, match=r"no Dask scheduler answers at tcp://127.0.0.1:9 \("),
        dask_cluster("tcp://127.0.0.1:9", seconds=1),
    ):
        pass
    write_file(tmp_path / "a.h5", 3)
    assert main(["score", str(tmp_path / "a.h5"), "-m", "kendall", "--dask", "nonsense://x"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("lensmetrics: no Dask scheduler answers at nonsense://x (")
    with pytest.raises(ValueError, match="No client"):  # it would decide how xarray locks files from now on
        distributed.default_client()
