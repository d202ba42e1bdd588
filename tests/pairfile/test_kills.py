"""Kill writers at random moments: nothing that was complete is lost."""

import contextlib
import time
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest

import lensmetrics as lm
from lensmetrics.errors import FormatError
from lensmetrics.pairfile.store import PairStore
from lensmetrics.pairfile.verification import verify
from tests.pairfile.faults import ATTRS, CONTEXT, SEED, SHAPE, maps_of, once
from tests.pairfiles import edit

N_KILL = 150  # more than 64, so that an index of chunks splits


def _begun(path: Path, compression: str | None) -> lm.PairWriter:
    return lm.PairWriter(path, n_samples=N_KILL, shape=SHAPE, attrs=ATTRS, compression=compression)


def _write_to_be_killed(path: Path, compression: str | None, descriptor: Connection) -> None:
    """Write in batches of 1 to 4, and report after each what is written."""
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
    """Kill a writer at a random moment after one of its reports; return all of them."""
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
    process.kill()  # unless it has ended by then
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
    found: Counter[str] = Counter()
    for i in range(n):
        where = f"kill {i}, compression {compression}"
        path = tmp_path / f"{i}.h5"
        part = tmp_path / f"{i}.h5.part"
        said = killed(path, compression, np.random.default_rng([SEED, i]))
        reported = max([stop for stop in said if isinstance(stop, int)], default=0)
        if path.exists() and not part.exists():
            found["finished"] += 1
            assert reported == N_KILL, where
        elif part.exists():
            try:
                store, problems = PairStore(part), verify(part)
                writer = None if path.exists() else lm.PairWriter.resume(path, ATTRS)
            except FormatError:
                # Compressed maps and their index grow while they are written, and HDF5 writes the size of the
                # file just after them: a kill before that leaves a file that is refused.
                if compression is None:
                    raise
                found["torn"] += 1
                continue
            assert store.complete[:reported].all(), where
            assert {problem for _, _, problem in problems} <= {"incomplete"}, where
            if writer is None:
                found["renamed"] += 1
            else:
                found["closing" if reported == N_KILL else "between writes"] += 1
                finish(writer)
        else:
            found["before the first write"] += 1
            assert reported == 0, where
            finish(_begun(path, compression))
        check_whole(path, where)
    assert found.total() == n
    assert found["torn"] <= n // 20
    assert found["between writes"] >= n // 4
    assert found["before the first write"] > 0


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


def test_maps_beyond_the_end_that_the_file_records_are_not_written_again(tmp_path: Path) -> None:
    """HDF5 writes that end last, and crashes when it flushes such maps."""
    path, part = tmp_path / "a.h5", tmp_path / "a.h5.part"
    unperturbed, perturbed = maps_of(2)
    writer = _begun(path, "gzip")
    with contextlib.suppress(KeyboardInterrupt), writer:
        writer.write(0, unperturbed[0], perturbed[0])
        end = part.read_bytes()[:48]
        writer.write(1, unperturbed[1], perturbed[1])
        raise KeyboardInterrupt
    edit(part, lambda file: file["complete"].__setitem__(1, 0))
    with part.open("r+b") as file:
        file.write(end)
    assert verify(part)[0] == (1, 1, "incomplete")
    with pytest.raises(FormatError, match=r"a\.h5\.part is truncated or damaged \(.*addr overflow"):
        lm.PairWriter.resume(path, ATTRS)
