"""Faults on purpose: kills, damage, full disks, hostile files; a table at the end says how many of each.

Whatever can crash, hang or take memory runs in processes of its own, forked from a warm one.
"""

import contextlib
import io
import itertools
import json
import multiprocessing
import os
import re
import resource
import shutil
import subprocess
import sys
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import lensmetrics as lm
from lensmetrics.cli import _open_store, main
from lensmetrics.errors import FormatError
from lensmetrics.pairfile.store import PairStore
from lensmetrics.pairfile.verification import verify, verify_files
from lensmetrics.processes import Isolated
from lensmetrics.scoring.files import score_files

SEED = 20240
SHAPE = (8, 9)
METRICS = ["kendall", "lens_recall(k=5,w=1)"]
MAPS = ("unperturbed", "perturbed")

# What the disk does to files does not depend on how kernels are compiled.
once = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT", "0") != "0" or os.environ.get("NUMBA_BOUNDSCHECK", "0") != "0",
    reason="faults of files are injected in the compiled run only",
)

# Counts

FOUND: dict[str, Counter[str]] = {}


def count(what: str, outcome: str, n: int = 1) -> None:
    FOUND.setdefault(what, Counter())[outcome] += n


@pytest.fixture(scope="module", autouse=True)
def table(request: pytest.FixtureRequest) -> Iterator[None]:
    """Print what was injected and what came of it."""
    FOUND.clear()
    started = time.monotonic()
    yield
    lines = [f"\n\nfaults injected in {time.monotonic() - started:.0f} s"]
    for what, outcomes in FOUND.items():
        lines.append(f"  {what}: {sum(outcomes.values())}")
        lines += [f"      {n:5} {outcome}" for outcome, n in sorted(outcomes.items())]
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print("\n".join(lines))


# Processes

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["pytest", "lensmetrics.scoring.files", "lensmetrics.pairfile.writer", "lensmetrics.report.page"]
)

Answer = tuple[Any, ...]


class Helper:
    """A process that calls functions on request, and may hang or crash on one."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        self.connection, end = CONTEXT.Pipe()
        self.process = CONTEXT.Process(target=_serve, args=(end,))  # no daemon: it may start a pool
        self.process.start()
        end.close()
        self.connection.recv()

    def send(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.connection.send((function, arguments))

    def receive(self, seconds: float = 30.0) -> Answer:
        """Return ("value", value), ("error", kind, message), ("hang",) or ("crash",)."""
        try:
            if self.connection.poll(seconds):
                answer: Answer = self.connection.recv()
                return answer
            answer = ("hang",)
        except (EOFError, OSError):
            answer = ("crash",)
        self.stop()
        self.start()
        return answer

    def ask(self, function: Callable[..., Any], *arguments: Any, seconds: float = 30.0) -> Answer:
        self.send(function, *arguments)
        return self.receive(seconds)

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()


def _serve(connection: Connection) -> None:
    unperturbed, perturbed = maps_of(1)
    lm.score(
        unperturbed, perturbed, METRICS
    )  # loads the kernels, which can take longer than a damaged file may
    connection.send(None)
    while True:
        try:
            function, arguments = connection.recv()
        except EOFError:
            return
        try:
            answer: Answer = ("value", function(*arguments))
        except BaseException as error:
            answer = ("error", type(error), str(error))
        connection.send(answer)


@pytest.fixture
def helper() -> Iterator[Helper]:
    helper = Helper()
    yield helper
    helper.stop()


@pytest.fixture
def two_helpers() -> Iterator[tuple[Helper, Helper]]:
    helpers = Helper(), Helper()
    yield helpers
    for helper in helpers:
        helper.stop()


def command(*words: object) -> tuple[int, str, str]:
    """Run the command line here: exit status, stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main([str(word) for word in words])
    return status, out.getvalue(), err.getvalue()


def maps_of(n: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(size=(2, n, *SHAPE)).astype(np.float32)


ATTRS = {"dataset": "toy", "attack": "topk", "eps": 8 / 255, "steps": 5, "layers": [1.5, 2.5]}


def write(path: Path, n: int = 6, *, seed: int = 0, **options: Any) -> Path:
    unperturbed, perturbed = maps_of(n, seed)
    with lm.PairWriter(path, n_samples=n, shape=SHAPE, attrs=ATTRS, **options) as writer:
        for i in range(n):
            more = {"label": i, "prediction": i % 3, "perturbation_linf": 0.5}
            image = np.full((4, 4), i, np.uint8)
            writer.write(i, unperturbed[i], perturbed[i], sample=100 + i, image=image, **more)
    return path


# Kills

N_KILL = 150  # more than 64, so that an index of chunks splits


def _begun(path: Path, compression: str | None) -> lm.PairWriter:
    return lm.PairWriter(path, n_samples=N_KILL, shape=SHAPE, attrs=ATTRS, compression=compression)


def _write_to_be_killed(path: Path, compression: str | None, descriptor: Connection) -> None:
    """Write in batches of 1 to 4, and say after each what is written."""
    maps = maps_of(N_KILL)
    sizes = np.random.default_rng(1).integers(1, 5, N_KILL)
    descriptor.send("creating")
    with _begun(path, compression) as writer:
        descriptor.send("created")
        start = 0
        for size in sizes:
            stop = min(start + int(size), N_KILL)
            if start < stop:
                writer.write(slice(start, stop), *maps[:, start:stop], label=range(start, stop))
                descriptor.send(stop)
            start = stop
        descriptor.send("closing")
    descriptor.send("closed")


def killed(path: Path, compression: str | None, rng: np.random.Generator) -> list[object]:
    """Kill a writer a random moment after one of the things that it says; return all that it said."""
    receiver, sender = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=_write_to_be_killed, args=(path, compression, sender), daemon=True)
    process.start()
    sender.close()
    after = rng.choice(["creating", "created", "batch", "batch", "batch", "closing"])
    if after == "batch":
        left, after = int(rng.integers(1, 58)), None
    said: list[object] = []
    while after is not None or left:
        said.append(receiver.recv())
        if after is not None and said[-1] == after:
            break
        if after is None and isinstance(said[-1], int):
            left -= 1
    time.sleep(float(rng.uniform(0, 0.004)))
    process.kill()  # unless it has ended meanwhile
    process.join()
    with contextlib.suppress(EOFError):
        while True:
            said.append(receiver.recv())
    receiver.close()
    return said


def check_whole(path: Path, where: str) -> None:
    assert verify(path) == [], where
    store = PairStore(path)
    unperturbed, perturbed, _ = store.read_block(0, N_KILL)
    expected = maps_of(N_KILL)
    np.testing.assert_array_equal(unperturbed, expected[0], err_msg=where)
    np.testing.assert_array_equal(perturbed, expected[1], err_msg=where)
    assert store.label is not None
    assert store.sample.tolist() == store.label.tolist() == list(range(N_KILL)), where


def finish(writer: lm.PairWriter) -> None:
    maps = maps_of(N_KILL)
    with writer:
        for i in writer.missing.tolist():
            writer.write(i, maps[0, i], maps[1, i], label=i)


@once
@pytest.mark.parametrize(("compression", "n"), [(None, 60), ("gzip", 40)])
def test_kills(tmp_path: Path, compression: str | None, n: int) -> None:
    what = f"kill -9 of a writer ({compression or 'contiguous'})"
    for i in range(n):
        where = f"kill {i}, compression {compression}"
        path = tmp_path / f"{i}.h5"
        part = tmp_path / f"{i}.h5.part"
        said = killed(path, compression, np.random.default_rng([SEED, i]))
        reported = max([stop for stop in said if isinstance(stop, int)], default=0)
        if path.exists() and not part.exists():
            count(what, "after the file had its name: whole")
            assert reported == N_KILL, where
        elif part.exists():
            store = PairStore(part)
            assert store.complete[:reported].all(), where
            bad = [problem for problem in verify(part) if problem[2] != "incomplete"]
            assert bad == [], where
            if path.exists():
                count(what, "while the file got its name: whole")
            else:
                count(what, "while closing: resumed" if reported == N_KILL else "between writes: resumed")
                finish(lm.PairWriter.resume(path, ATTRS))
        else:
            count(what, "before the first write: begun anew")
            assert reported == 0, where
            finish(_begun(path, compression))
        check_whole(path, where)
    assert FOUND[what].total() == n
    assert FOUND[what]["between writes: resumed"] >= n // 4
    assert FOUND[what]["before the first write: begun anew"] > 0


def test_a_kill_while_the_file_gets_its_name(tmp_path: Path) -> None:
    path, part = tmp_path / "a.h5", tmp_path / "a.h5.part"
    unperturbed, perturbed = maps_of(2)
    with lm.PairWriter(path, n_samples=2, shape=SHAPE, attrs=ATTRS) as writer:
        writer.write(0, unperturbed[0], perturbed[0])
    part.hardlink_to(path)
    with lm.PairWriter.resume(path, ATTRS) as writer:
        assert not path.exists()
        writer.write(1, unperturbed[1], perturbed[1])
    assert [file.name for file in tmp_path.iterdir()] == ["a.h5"]
    assert verify(path) == []


# Damage


def _scored(store: PairStore) -> list[tuple[Any, ...]]:
    """All that a table says of a file but its name, NaN as text."""
    scores, _ = score_files(store.path, METRICS, on_bad="raise", open_store=lambda _: store)
    assert scores is not None
    scores = scores.drop(columns="file")
    rows = [tuple(map(repr, row)) for row in scores.itertuples(index=False)]
    return [(*scores.columns,), (repr(sorted(store.attrs.items())),), *rows]


def metadata_mask(path: Path) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which bytes of a file are no values of variables."""
    mask = np.ones(path.stat().st_size, np.bool_)
    with h5py.File(path) as file:
        for dataset in file.values():
            if dataset.chunks:
                chunks = [dataset.id.get_chunk_info(i) for i in range(dataset.id.get_num_chunks())]
                ranges = [(chunk.byte_offset, chunk.size) for chunk in chunks]
            else:
                ranges = [(dataset.id.get_offset() or 0, dataset.id.get_storage_size())]
            for start, length in ranges:
                mask[start : start + length] = False
    return mask


def damages(whole: Path, n_cuts: int, n_flips: int, n_more: int) -> Iterator[tuple[str, str, bytes]]:
    """Yield the kind of a damage, where it is, and the file that has it."""
    data, mask = whole.read_bytes(), metadata_mask(whole)
    rng = np.random.default_rng(SEED)
    metadata = np.flatnonzero(mask)
    for at in rng.choice(len(data), n_cuts, replace=False):
        yield "cut", f"at byte {at}", data[:at]
    for i in range(n_flips + n_more):
        n_bytes = 1 if i < n_flips else int(rng.integers(2, 17))
        anywhere = rng.integers(0, len(data) - n_bytes)
        at = int(rng.choice(metadata)) if i % 2 else int(anywhere)
        flipped = bytearray(data)
        for offset in range(at, min(at + n_bytes, len(data))):
            flipped[offset] ^= int(rng.integers(1, 256))
        kind = "flip of one byte" if n_bytes == 1 else "flip of several bytes"
        region = "metadata" if mask[at] else "values"
        yield f"{kind} in {region}", f"of {n_bytes} bytes at {at}", bytes(flipped)


# Attributes, predictions and norms have one checksum in all, which `verify` looks at.
COVERED_IN_ALL = {"prediction"}
SAYS = {"hangs": "gives no answer", "crashes": "crashes the process"}


def outcome(answer: Answer, whole: list[tuple[Any, ...]], path: Path, where: str) -> str:
    """Classify what scoring a damaged file gave; fail for what must not be."""
    assert answer[0] not in ("hang", "crash"), (where, answer)
    if answer[0] == "error":
        assert issubclass(answer[1], FormatError | OSError), (where, answer)
        assert path.name in answer[2], (where, answer)
        hurt = [verb for verb in ("hangs", "crashes") if SAYS[verb] in answer[2]]
        return f"HDF5 {hurt[0]}, said in a sentence" if hurt else "refused in a sentence"
    found = answer[1]
    if found == whole:
        return "same scores"
    if found[0] != whole[0] or found[1] != whole[1] or len(found) != len(whole):
        unnamed = [row for row, old in zip(found[2:], whole[2:], strict=False) if row[-3:] != old[-3:]]
        assert all(any("checksum" in value for value in row) for row in unnamed), (where, found)
        return "an attribute or the name of a variable changed"
    at = {name: i for i, name in enumerate(whole[0])}
    named = False
    for row, old in zip(found[2:], whole[2:], strict=True):
        if row[at["status"]] in ("'checksum'", "'incomplete'"):
            named = True
            continue
        changed = {name for name, i in at.items() if row[i] != old[i]}
        assert changed <= COVERED_IN_ALL, (where, row, old)
    return "the sample is named" if named else "a prediction changed"


@once
@pytest.mark.parametrize("compression", [None, "gzip"])
def test_damaged_files(tmp_path: Path, helper: Helper, compression: str | None) -> None:
    whole = write(tmp_path / "whole.h5", compression=compression)
    answer = helper.ask(_scored, PairStore(whole))
    assert answer[0] == "value", answer
    expected = answer[1]
    paths, outcomes, places = [], [], []
    with Isolated(_open_store, seconds=2) as open_store:  # as the command opens files
        for i, (kind, place, data) in enumerate(damages(whole, 60, 600, 60)):
            path = tmp_path / f"damaged{i}.h5"
            path.write_bytes(data)
            where = f"{kind} {place} of a file with compression {compression}"
            try:
                answer = helper.ask(_scored, open_store(path))
            except (FormatError, OSError) as error:
                answer = "error", type(error), str(error)
            found = outcome(answer, expected, path, where)
            count(f"{kind}, scored", found)
            paths.append(path)
            outcomes.append(found)
            places.append(where)
    verdicts = list(verify_files(paths, seconds=2))
    assert [verdict.path for verdict in verdicts] == paths
    for verdict, found, where in zip(verdicts, outcomes, places, strict=True):
        if found.startswith("HDF5"):
            assert any(said in verdict.error for said in SAYS.values()), (where, verdict)
        elif found == "refused in a sentence":
            assert verdict.path.name in verdict.error, (where, verdict)
        else:
            kinds = {problem for _, _, problem in verdict.problems}
            assert bool(kinds & {"checksum", "incomplete"}) == (found == "the sample is named"), (
                where,
                verdict,
            )
            assert kinds or found == "same scores", (where, verdict)
            assert not verdict.error, (where, verdict)
        said = "in a sentence" if verdict.error else "named" if verdict.problems else "good"
        if SAYS["hangs"] in verdict.error:
            said = "no answer in time, said in a sentence"
        count("damaged files, verified", said)
    hurt = sum(found.startswith("HDF5") for found in outcomes)
    assert hurt <= len(outcomes) // 100


# Full disks


@contextlib.contextmanager
def mounted(folder: Path, *options: str) -> Iterator[Path]:
    """Mount a small file system in memory, where that is allowed."""
    folder.mkdir(exist_ok=True)
    words = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)]
    try:
        done = subprocess.run(words, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        done = False
    if not done:
        pytest.skip("a small file system can be mounted by root only, and not everywhere")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


WRITE_UNTIL_FULL = """
import json, sys
import numpy as np
from lensmetrics.pairfile.writer import PairWriter
for folder in sys.argv[1:]:
    compression = "gzip" if folder.endswith("gzip") else None
    maps = np.random.default_rng(0).normal(size=(2, 20, 64, 64)).astype(np.float32)
    done, words = 0, ""
    try:
        options = {"n_samples": 20, "shape": (64, 64), "attrs": {}, "compression": compression}
        with PairWriter(f"{folder}/a.h5", **options) as writer:
            for i in range(20):
                writer.write(i, maps[0, i], maps[1, i], label=i)
                done += 1
    except OSError as error:
        words = str(error)
    print(json.dumps([done, words]))
"""
ROOM = (4, 60, 140, 200, 280, 400, 700, 900)  # kB; the file needs 660


@once
def test_full_disk_while_writing(tmp_path: Path) -> None:
    maps = np.random.default_rng(0).normal(size=(2, 20, 64, 64)).astype(np.float32)
    with contextlib.ExitStack() as stack:
        folders = [
            stack.enter_context(mounted(tmp_path / f"{room}{name}", f"size={room}k"))
            for room in ROOM
            for name in ("", "gzip")
        ]
        # A process of its own: HDF5 crashed at its end where it could not write.
        words = [sys.executable, "-W", "error", "-c", WRITE_UNTIL_FULL, *map(str, folders)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        for folder, line in zip(folders, done.stdout.splitlines(), strict=True):
            n_reported, words_said = json.loads(line)
            path, part = folder / "a.h5", folder / "a.h5.part"
            if not words_said:
                count("full disk, writer", "had room")
                assert verify(path) == []
                continue
            assert "a.h5" in words_said
            assert "\n" not in words_said
            assert not path.exists()
            subprocess.run(["mount", "-o", "remount,size=9m", str(folder)], check=True)
            if not part.exists():
                count("full disk, writer", "refused before the first write, nothing left")
                assert list(folder.iterdir()) == []
                assert n_reported == 0
                continue
            count("full disk, writer", "refused in a sentence, resumed after room was made")
            with lm.PairWriter.resume(path, {}) as writer:
                assert writer.missing.tolist() == list(range(n_reported, 20)), folder
                for i in writer.missing.tolist():
                    writer.write(i, maps[0, i], maps[1, i], label=i)
            assert verify(path) == []
            np.testing.assert_array_equal(PairStore(path).read_block(0, 20)[0], maps[0])
    assert FOUND["full disk, writer"]["refused in a sentence, resumed after room was made"] >= 6


def one_sentence(err: str) -> bool:
    """Whether a command said one thing, besides what belongs to going on, and no traceback."""
    beside = ("what is scored so far", "scored ", "took over ", "lensmetrics: the maps hold negative values")
    lines = [line for line in err.splitlines() if line and not line.startswith(beside)]
    return len(lines) == 1 and lines[0].startswith("lensmetrics: ") and "Traceback" not in err


def fill(folder: Path, left: int) -> Path:
    """Leave so many bytes free on a disk."""
    filler = folder / "filler"
    filler.write_bytes(b"x" * (shutil.disk_usage(folder).free - left))
    return filler


@once
def test_full_disk_of_commands(tmp_path: Path, helper: Helper) -> None:
    pairs, scores = write(tmp_path / "pairs.h5", 40), tmp_path / "scores.parquet"
    inputs, others = tmp_path / "maps.npy", tmp_path / "others.npy"
    for path, maps in zip((inputs, others), maps_of(40), strict=True):
        np.save(path, maps)
    lm.evaluate(pairs, METRICS, output=scores)
    with mounted(tmp_path / "disk", "size=2m") as disk:
        commands: dict[str, list[Any]] = {
            "score": ["score", pairs, "-m", *METRICS, "--workers", 1, "-o", disk / "s.parquet", "--resume"],
            "score csv": ["score", pairs, "-m", *METRICS, "--workers", 1, "-o", disk / "s.csv", "--resume"],
            "import": ["import", inputs, others, "-o", disk / "i.h5"],
            "summarize": ["summarize", scores, "-o", disk / "s2.csv"],
            "report": ["report", scores, "-o", disk / "r.html"],
        }
        for name, words in commands.items():
            output = next(Path(word) for word in words if str(word).startswith(str(disk)))
            for left in (0, 4096, 8192):
                filler = fill(disk, left)
                answer = helper.ask(command, *words, seconds=120)
                assert answer[0] == "value", (name, left, answer)
                status, _, err = answer[1]
                filler.unlink()
                if status == 0:
                    count("full disk, commands", f"{name}: had room")
                    assert output.exists()
                    output.unlink()
                    continue
                count("full disk, commands", f"{name}: refused in a sentence, nothing torn")
                assert status == 1, (name, left)
                assert one_sentence(err), (name, left, err)
                assert output.name in err, (name, left, err)
                left_behind = {path.name for path in disk.iterdir()} - {f"{output.name}.part"}
                assert left_behind == set(), (name, left)
            answer = helper.ask(command, *words, seconds=120)
            assert answer[1][0] == 0, (name, answer)
            assert sorted(path.name for path in disk.iterdir()) == [output.name]
            output.unlink()


# Read-only places


@once
def test_read_only_places(tmp_path: Path, helper: Helper) -> None:
    pairs = write(tmp_path / "pairs.h5")
    scores = tmp_path / "scores.parquet"
    lm.evaluate(pairs, METRICS, output=scores)
    others = tmp_path / "others.npy"
    for path, maps in zip((tmp_path / "maps.npy", others), maps_of(6), strict=True):
        np.save(path, maps)
    with mounted(tmp_path / "disk", "size=4m") as disk:
        for file in (pairs, scores, tmp_path / "maps.npy"):
            shutil.copy(file, disk)
        part = disk / "half.h5"
        with lm.PairWriter(part, n_samples=2, shape=SHAPE, attrs={}) as writer:
            writer.write(0, *maps_of(1)[:, 0])
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        here = disk / "pairs.h5"
        reading = [["score", here, "-m", *METRICS, "--workers", 1], ["verify", here], ["inspect", here]]
        for words in (*reading, ["summarize", disk / "scores.parquet"]):
            answer = helper.ask(command, *words, seconds=60)
            assert answer[1][0] == 0, answer
            count("read-only folder", f"{words[0]} reads")
        here_too = disk / "maps.npy"
        writing = [
            ["score", here, "-m", *METRICS, "--workers", 1, "-o", disk / "s.parquet"],
            ["summarize", disk / "scores.parquet", "-o", disk / "s.csv"],
            ["report", disk / "scores.parquet", "-o", disk / "r.html"],
            ["import", here_too, others, "-o", disk / "i.h5"],
            ["demo", "-o", disk],
        ]
        for words in writing:
            answer = helper.ask(command, *words, seconds=120)
            assert answer[0] == "value", answer
            status, _, err = answer[1]
            assert status == 2, words
            said = [line for line in err.splitlines() if not line.startswith("scoring the embedded")]
            assert one_sentence("\n".join(said)), (words, err)
            count("read-only folder", f"{words[0]} refuses to write")
        answer = helper.ask(_resume, part, {})
        assert answer[0] == "error"
        assert issubclass(answer[1], OSError)
        assert "half.h5" in answer[2]
        count("read-only folder", "resume refuses to write")


def _resume(path: Path, attrs: dict[str, Any]) -> None:
    with lm.PairWriter.resume(path, attrs):
        pass


# Files that change while they are scored


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
    what = f"file changed while scored ({workers} process{'es' if workers > 1 else ''})"
    rng = np.random.default_rng([SEED, workers])
    duration = 0.0
    for i in range(-2 if workers == 1 else -1, n):
        shutil.copyfile(kept, path)
        output = tmp_path / f"{i}.csv"
        started = time.monotonic()
        helper.send(command, *words, "-o", output)
        kind = list(CHANGES)[i % len(CHANGES)]
        if i >= 0:
            time.sleep(float(rng.uniform(0, duration / 2)))
            CHANGES[kind](path, other)
        answer = helper.receive(120)
        assert answer[0] == "value", (kind, i, answer)
        status, _, err = answer[1]
        table = lm.read_scores(output)
        values = {name: table[table["file"] == str(name)][metric].tolist() for name in (path, kept)}
        assert values[kept] == wholes[0], (kind, i)
        if i < 0:
            duration = time.monotonic() - started  # of the last, which has all in memory
            assert status == 0
        elif values[path]:
            # It was read before it changed, or it was another whole file before it was opened.
            count(what, f"{kind}: scored whole, as it was before or after")
            assert status == 0, (kind, i, err)
            assert values[path] in wholes[: 2 if "re" in kind or "over" in kind else 1], (kind, i)
        else:
            count(what, f"{kind}: left out in a sentence, the other file scored")
            assert status == 1, (kind, i)
            assert "Traceback" not in err
            assert str(path) in err
    assert FOUND[what].total() == n
    assert sum(number for name, number in FOUND[what].items() if "left out" in name) >= n // 4


# Two writers


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
    what = f"two writers ({first.__name__.strip('_')}, {second.__name__.strip('_')})"
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
            count(what, "both refused, resumed afterwards")
            _again(path, 3.0, 0)
        else:
            count(what, f"{n_wrote} finished, {2 - n_wrote} refused in a sentence")
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


def test_a_file_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
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


# Hostile files: each is a sound pair file, changed so


def _replace(
    file: h5py.File, names: Sequence[str], shape: tuple[int, ...], dtype: Any, **options: Any
) -> None:
    for name in names:
        file.pop(name, None)
        file.create_dataset(name, shape, dtype, **options)


def _columns(file: h5py.File, n: int, **options: Any) -> None:
    for name, dtype in (("sample", "i8"), ("complete", "u1"), ("checksum", "u4"), ("label", "i8")):
        _replace(file, [name], (n,), dtype, **options)
    for name in ("prediction", "perturbation_linf", "image", "image_checksum"):
        file.pop(name, None)


def _zeros(file: h5py.File, name: str) -> None:
    """Give a compressed variable chunks of zeros, which take a thousandth of their size."""
    dataset = file[name]
    squeezer = zlib.compressobj(1)
    left, squeezed = int(np.prod(dataset.chunks)) * dataset.dtype.itemsize, b""
    while left:
        squeezed += squeezer.compress(bytes(min(left, 2**22)))
        left -= min(left, 2**22)
    squeezed += squeezer.flush()
    starts = [range(0, size, step) for size, step in zip(dataset.shape, dataset.chunks, strict=True)]
    for start in itertools.product(*starts):
        dataset.id.write_direct_chunk(start, squeezed)


def _bomb_of_a_map(file: h5py.File, side: int, chunk: int) -> None:
    _replace(file, MAPS, (1, side, side), "f4", chunks=(1, chunk, chunk), compression="gzip")
    _columns(file, 1)
    file["sample"][:], file["checksum"][:], file["label"][:] = 0, 0, 0
    for name in MAPS:
        _zeros(file, name)
    file["complete"][:] = 1


def _bomb_of_columns(file: h5py.File) -> None:
    n = 2**28
    _replace(file, MAPS, (n, 1, 1), "f4", chunks=(2**26, 1, 1))
    _columns(file, n, chunks=(2**25,), compression="gzip")
    for name in ("sample", "complete", "checksum", "label"):
        _zeros(file, name)


def _chunk_of_many_samples(file: h5py.File) -> None:
    options = {"maxshape": (None, *SHAPE), "chunks": (2**20, *SHAPE), "compression": "gzip"}
    _replace(file, MAPS, (6, *SHAPE), "f4", **options)
    for name in MAPS:
        _zeros(file, name)


def _bomb_of_images(file: h5py.File) -> None:
    _replace(file, ["image"], (6, 9000, 9000), "f4", chunks=(1, 9000, 9000), compression="gzip")
    _zeros(file, "image")


def _never_allocated(file: h5py.File) -> None:
    _replace(file, MAPS, (6, *SHAPE), "f4")
    file["complete"][:] = 1


def _huge(file: h5py.File, n: int, shape: tuple[int, int], chunked: bool) -> None:
    _replace(
        file, MAPS, (n, *shape), "f4", chunks=(1, *(min(side, 64) for side in shape)) if chunked else None
    )
    _columns(file, n, chunks=(1024,) if chunked else None, fillvalue=1)


def _elsewhere(file: h5py.File, kind: str) -> None:
    del file["perturbed"]
    if kind == "external link":
        file["perturbed"] = h5py.ExternalLink("secret.h5", "/perturbed")
    elif kind == "virtual":
        layout = h5py.VirtualLayout((6, *SHAPE), "f4")
        layout[:] = h5py.VirtualSource("secret.h5", "perturbed", (6, *SHAPE))
        file.create_virtual_dataset("perturbed", layout)
    else:
        file.create_dataset("perturbed", (6, *SHAPE), "f4", external=[("secret.h5", 0, 4 * 6 * 72)])


def _soft_cycle(file: h5py.File) -> None:
    file["one"], file["two"] = h5py.SoftLink("/two"), h5py.SoftLink("/one")


def _hard_cycle(file: h5py.File) -> None:
    group = file.create_group("group")
    group["again"], group["root"] = group, file["/"]


def _deep(file: h5py.File) -> None:
    group: Any = file
    for _ in range(300):
        group = group.create_group("g")


def _many_names(file: h5py.File) -> None:
    for i in range(2000):
        file.create_group(f"g{i}")


def _odd_names(file: h5py.File) -> None:
    file["a\nb"], file["\x1b[31m"] = 1, 2


def _value(name: str, value: Any) -> Callable[[h5py.File], object]:
    def change(file: h5py.File) -> None:
        file.pop(name, None)
        file[name] = value

    return change


def _type(name: str, dtype: Any, shape: tuple[int, ...] = (6,)) -> Callable[[h5py.File], object]:
    return lambda file: _replace(file, [name], shape, dtype)


def _attr(name: str, value: Any, dtype: Any = None) -> Callable[[h5py.File], object]:
    def change(file: h5py.File) -> None:
        file.attrs.pop(name, None)
        file.attrs.create(name, file["sample"].ref if value is None else value, dtype=dtype)

    return change


def _shared_text(file: h5py.File) -> None:
    """Let all texts of variable length lead to the same bytes, which are in the file once."""
    _value("name", ["x" * 2**22, *"abcde"])(file)
    file.flush()
    offset = file["name"].id.get_offset()
    with Path(file.filename).open("r+b") as raw:
        raw.seek(offset)
        first = raw.read(16)
        raw.seek(offset)
        raw.write(first * 6)


def _bomb_of_outputs(file: h5py.File) -> None:
    _replace(file, ["output"], (6, 10**8), "f4", chunks=(1, 10**8), compression="gzip")
    _zeros(file, "output")


def _outputs_of_two_lengths(file: h5py.File) -> None:
    _value("output", np.zeros((6, 3), "f4"))(file)
    _value("output_perturbed", np.zeros((6, 4), "f4"))(file)


# What `verify` finds in those that are good otherwise: their bytes are not those of the finished file.
CHANGED = {
    "attribute": [(-1, -1, "checksum_metadata")],
    "name": [(-1, -1, "checksum_metadata")],
    "column": [(-1, -1, "checksum_metadata")],
}


# What becomes of each: "good", or a part of the sentence that refuses it.
HOSTILE: dict[str, tuple[Callable[[h5py.File], object], str]] = {
    "bomb: one chunk": (
        partial(_bomb_of_a_map, side=9000, chunk=9000),
        "must be decoded 324000000 bytes at a time",
    ),
    "bomb: many chunks of a sample": (
        partial(_bomb_of_a_map, side=20000, chunk=4000),
        "must be decoded 1600000000 bytes at a time",
    ),
    "bomb: columns": (_bomb_of_columns, "bytes at a time"),
    "bomb: a chunk of many samples": (_chunk_of_many_samples, "must be decoded 301989888 bytes at a time"),
    "bomb: images": (_bomb_of_images, "must be decoded 324000000 bytes at a time"),
    "never allocated": (_never_allocated, "0 are there"),
    "huge contiguous": (lambda file: _huge(file, 2**20, (2**20, 2**20), False), "are there|at most"),
    "huge chunked": (lambda file: _huge(file, 2**20, (2**20, 2**20), True), "are there|at most"),
    "2^62 pixels": (lambda file: _huge(file, 2**30, (2**16, 2**16), True), "are there|at most"),
    "huge number of samples": (lambda file: _huge(file, 2**40, (1, 1), True), "are there"),
    "external link": (lambda file: _elsewhere(file, "external link"), "is a link"),
    "virtual dataset": (lambda file: _elsewhere(file, "virtual"), "stored in this file"),
    "external storage": (lambda file: _elsewhere(file, "external"), "stored in this file"),
    "soft link cycle": (_soft_cycle, "is a link"),
    "hard link cycle": (_hard_cycle, "good"),
    "deep groups": (_deep, "good"),
    "many names": (_many_names, "good"),
    "odd names": (_odd_names, "good"),
    "named type": (_value("perturbed", np.dtype("f4")), "stored in this file"),
    "text maps": (_type("perturbed", h5py.string_dtype(), (6, *SHAPE)), "must be float32"),
    "nested sample": (_type("sample", h5py.vlen_dtype("i4")), "must hold integers"),
    "compound label": (_type("label", [("a", "i4")]), "must hold integers"),
    "reference label": (_type("label", h5py.ref_dtype), "must hold integers"),
    "empty maps": (_value("perturbed", h5py.Empty("f4")), "'perturbed' is None"),
    "empty sample": (_value("sample", h5py.Empty("i8")), "'sample' is None"),
    "scalar sample": (_value("sample", 3), "'sample' is ()"),
    "name: numbers": (_type("name", "i4"), "'name' is int32; it must hold texts"),
    "name: nested": (_type("name", h5py.vlen_dtype("i4")), "it must hold texts"),
    "name: not UTF-8": (_value("name", [b"\xff"] * 6), "which is not UTF-8"),
    "name: too few": (_value("name", [b"a"] * 5), "'name' is (5,) but 'unperturbed' has 6 samples"),
    "name: too few characters": (_type("name", "S1", (5, 9)), "'name' is (5, 9) but 'unperturbed' has 6"),
    "name: no characters": (_type("name", "S1", (6, 0)), "good"),
    "name: characters": (_value("name", np.full((6, 9), b"a")), "good"),
    "name: variable length": (_value("name", ["a", "ü", "", "b\x1b\n", "c", "a"]), "good"),
    "name: one text for all": (_shared_text, "'name' holds more text than the file has bytes"),
    "name: never allocated": (_type("name", "S1000000"), "0 are there"),
    "name: empty": (_value("name", h5py.Empty("S1")), "'name' is None"),
    "column: count as float": (_type("n_accepted", "f4"), "must hold integers"),
    "column: count beyond int32": (
        _value("n_accepted", np.full(6, 2**40)),
        "'n_accepted' holds 1099511627776",
    ),
    "column: label beyond int64": (
        _value("label", np.full(6, 2**63, np.uint64)),
        "holds 9223372036854775808",
    ),
    "column: complete beyond uint8": (
        _value("complete", np.full(6, 256)),
        "must hold integers from 0 to 255",
    ),
    "column: negative checksum": (_value("checksum", np.full(6, -1)), "'checksum' holds -1"),
    "column: huge norm": (_value("perturbation_linf", np.full(6, 1e300)), "good"),
    "column: checksum of images": (_type("image_checksum", "u4", (5,)), "'image_checksum' is (5,) but"),
    "output: one axis": (_type("output", "f4"), "it must be (6, class) floating-point numbers"),
    "output: integers": (_type("output", "i4", (6, 3)), "it must be (6, class) floating-point numbers"),
    "output: no classes": (_type("output", "f4", (6, 0)), "it must be (6, class) floating-point numbers"),
    "output: never allocated": (_type("output", "f4", (6, 10**6)), "0 are there"),
    "output: bomb": (_bomb_of_outputs, "must be decoded 400000000 bytes at a time"),
    "output: of two lengths": (
        _outputs_of_two_lengths,
        "'output' is (6, 3) but 'output_perturbed' is (6, 4)",
    ),
    "target: shape": (
        _value("target", np.zeros((6, 9, 8), "f4")),
        "it must be (6, 8, 9) float32, as the maps",
    ),
    "target: type": (_value("target", np.zeros((6, *SHAPE))), "it must be (6, 8, 9) float32, as the maps"),
    "attribute: checksum as text": (_attr("checksum_metadata", "x"), "good"),
    "attribute: checksum of many": (_attr("checksum_metadata", np.zeros(9, int)), "good"),
    "attribute: checksum NaN": (_attr("checksum_metadata", float("nan")), "good"),
    "attribute: compound": (_attr("dataset", np.zeros(1, [("a", int)])), "must be text or numbers"),
    "attribute: reference": (_attr("dataset", None, h5py.ref_dtype), "must be text or numbers"),
    "attribute: complex": (_attr("eps", 1j), "must be text or numbers"),
    "attribute: long double": (_attr("eps", np.longdouble(0.5)), "must be text or numbers"),
    "attribute: not UTF-8": (_attr("dataset", b"\xff\xfe", h5py.string_dtype()), "must be text or numbers"),
    "attribute: bytes": (_attr("dataset", np.bytes_(b"\xff\xfe")), "must be text or numbers"),
    "attribute: array": (_attr("eps", np.zeros((50, 60))), "good"),
    "attribute: huge text": (_attr("dataset", "x" * 10**6), "good"),
    "attribute: huge array": (_attr("eps", np.zeros(10**5)), "good"),
    "attribute: NaN": (_attr("eps", float("nan")), "good"),
    "attribute: infinite": (_attr("eps", float("inf")), "good"),
    "attribute: bool": (_attr("eps", True), "good"),
    "attribute: empty array": (_attr("eps", np.zeros(0)), "good"),
    "attribute: empty text": (_attr("dataset", ""), "good"),
    "attribute: no value": (_attr("dataset", h5py.Empty("f4")), "good"),
    "attribute: control characters": (_attr("dataset", "a\nb\x1b[31mred\r"), "good"),
    "attribute: odd name": (_attr("a\nb\x1b[31m", "x"), "good"),
    "attribute: name of a column": (_attr("file", "x"), "good"),
    "version: float": (_attr("format_version", 1.0), "must be an integer"),
    "version: NaN": (_attr("format_version", float("nan")), "must be an integer"),
    "version: array": (_attr("format_version", np.ones(3, int)), "must be an integer"),
    "version: huge": (_attr("format_version", np.uint64(2**64 - 1)), "install a newer release"),
    "version: text": (_attr("format_version", "1"), "must be an integer"),
    "format: array": (_attr("format", ["a", "b"]), "has format ['a', 'b']"),
    "reduction: NaN": (_attr("reduction", float("nan")), "unknown reduction"),
}


def _bounded(path: Path, output: Path) -> tuple[list[tuple[int, str, str]], int]:
    """Score and summarize a file with little memory; also return its highest use so far, in kB.

    That is the sum of what scores and of what opens the file, a process of its own.
    """
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    done = [command("score", path, "-m", *METRICS, "--workers", 1, "-o", output)]
    if output.exists():
        done += [command("summarize", output), command("summarize", output, "--by", "file")]
    processes = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return done, sum(resource.getrusage(process).ru_maxrss for process in processes)


MEMORY = 3 * 2**30  # address space, most of which is code and never touched


def _make_hostile(name: str, base: Path, path: Path) -> None:
    shutil.copy(base, path)
    with h5py.File(path, "r+") as file:
        HOSTILE[name][0](file)


@once
def test_hostile_files(
    tmp_path: Path, two_helpers: tuple[Helper, Helper], monkeypatch: pytest.MonkeyPatch
) -> None:
    helper, maker = two_helpers
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "secret.h5", seed=7)
    base = write(tmp_path / "base.h5")
    _, before = helper.ask(_bounded, base, tmp_path / "base.csv")[1]
    paths = []
    highest = before
    for i, (name, (_, expected)) in enumerate(HOSTILE.items()):
        path = tmp_path / f"hostile{i}.h5"
        paths.append(path)
        # HDF5 has crashed here, once: making such a file is not what it is good at either.
        made = [maker.ask(_make_hostile, name, base, path)]
        if made[-1] == ("crash",):
            made.append(maker.ask(_make_hostile, name, base, path))
        assert made[-1][0] == "value", (name, made)
        answer = helper.ask(_bounded, path, tmp_path / f"{i}.csv", seconds=60)
        assert answer[0] == "value", (name, answer)
        done, highest = answer[1]
        for status, out, err in done:
            assert "Traceback" not in err, (name, err)
            assert "\x1b" not in out + err, (name, out, err)
            if expected == "good":
                assert status == 0, (name, err)
            else:
                assert status == 1, (name, out)
                assert re.search("|".join(map(re.escape, expected.split("|"))), err), (name, err)
                assert path.name in err
        kind = name.split(":")[0] if ":" in name else "structure"
        count("hostile files", f"{kind}: {'read' if expected == 'good' else 'refused in a sentence'}")
    status, out, err = helper.ask(command, "inspect", *paths, seconds=60)[1]
    assert status == 1
    assert "Traceback" not in err
    assert "\x1b" not in out + err
    for path, (_, expected) in zip(paths, HOSTILE.values(), strict=True):
        (line,) = [line for line in (*out.splitlines(), *err.splitlines()) if path.name in line]
        assert line.startswith(str(path) if expected == "good" else "lensmetrics: "), line
        assert expected == "good" or re.search("|".join(map(re.escape, expected.split("|"))), line), line
    for (name, (_, expected)), verdict in zip(HOSTILE.items(), verify_files(paths, seconds=20), strict=True):
        assert (verdict.error == "") == (expected == "good"), (name, verdict)
        changed = CHANGED.get(name.split(":")[0], []) if expected == "good" else []
        assert verdict.problems == changed, (name, verdict)
    growth = (highest - before) // 1024
    count("hostile files, growth of memory in MB", "at most", growth)
    assert growth < 300


def _npz_with(path: Path, member: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", member)
    return path


def _header(shape: str, descr: str = "'<f4'") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


NPY = {
    "no values": _header("(4, 5, 6)"),
    "huge": _header("(1000000, 1000000, 1000000)") + bytes(480),
    "2^62": _header(f"({2**62}, 2, 2)") + bytes(480),
    "beyond 64 bits": _header(f"({2**70}, 2, 2)") + bytes(480),
    "negative": _header("(-4, 5, 6)") + bytes(480),
    "no tuple": _header("[4]") + bytes(480),
    "no text": b"\x93NUMPY\x01\x00\xff\xff" + b"\xff" * 70000,
    "long header": b"\x93NUMPY\x02\x00" + (2**20).to_bytes(4, "little") + b"(" * 2**20,
    "unknown version": b"\x93NUMPY\x09\x00" + bytes(200),
    "objects": _header("(4,)", "'|O'") + b"cos\nsystem\n(S'touch owned'\ntR.",
    "records": _header("(4,)", "[('a', '<f4')]") + bytes(480),
    "odd type": _header("(4, 5, 6)", "'<f3'") + bytes(480),
    "huge type": _header("(4,)", f"'|V{2**31 - 1}'") + bytes(480),
}


def _import(source: Path, output: Path) -> tuple[tuple[int, str, str], int]:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    done = command("import", source, source.with_name("good.npy"), "-o", output)
    return done, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@once
def test_hostile_sources(tmp_path: Path, helper: Helper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "good.npy", maps_of(3)[0])
    np.save(tmp_path / "other.npy", maps_of(3)[1])
    answer = helper.ask(_import, tmp_path / "other.npy", tmp_path / "good.h5")
    assert answer[1][0][0] == 0, answer
    before = highest = answer[1][1]
    sources = []
    for name, data in NPY.items():
        sources += [(f"npy: {name}", tmp_path / f"{name}.npy"), (f"npz: {name}", tmp_path / f"{name}.npz")]
        sources[-2][1].write_bytes(data)
        _npz_with(sources[-1][1], data)
    bomb = _npz_with(tmp_path / "claim.npz", bytes(2**20))
    claim = bytearray(bomb.read_bytes())
    at = claim.rindex(b"PK\x01\x02") + 24
    claim[at : at + 4] = (2**32 - 2).to_bytes(4, "little")
    bomb.write_bytes(claim)
    sources.append(("npz: claims 4 GB", bomb))
    with h5py.File(tmp_path / "source.h5", "w") as file:
        _replace(file, ["a"], (1, 9000, 9000), "f4", chunks=(1, 9000, 9000), compression="gzip")
        _zeros(file, "a")
    sources.append(("hdf5: bomb", tmp_path / "source.h5"))
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file["unperturbed"] = file["perturbed"] = h5py.ExternalLink("good.h5", "/unperturbed")
    sources.append(("hdf5: link", tmp_path / "link.h5"))
    for name, source in sources:
        answer = helper.ask(_import, source, tmp_path / "out.h5", seconds=120)
        assert answer[0] == "value", (name, answer)
        (status, _, err), highest = answer[1]
        assert status == 1, (name, err)
        assert one_sentence(err), (name, err)
        assert source.name in err, (name, err)
        assert not (tmp_path / "out.h5").exists()
        assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")], name
        count("hostile sources of import", f"{name.split(':')[0]}: refused in a sentence")
    assert not (tmp_path / "owned").exists()
    growth = (highest - before) // 1024
    count("hostile sources of import, growth of memory in MB", "at most", growth)
    assert growth < 200
