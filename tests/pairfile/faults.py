"""What tests with faults on purpose share: processes that may crash, small disks, and a file to harm.

Whatever can crash, hang or take memory runs in processes of its own, forked from a warm one.
"""

import contextlib
import io
import itertools
import multiprocessing
import os
import shutil
import subprocess
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
import pytest

import lensmetrics as lm
from lensmetrics.children import Alive, Child, ChildCrashed, ChildHung
from lensmetrics.cli import main

SEED = 20240
SHAPE = (8, 9)
METRICS = ["kendall", "lens_recall(k=5,w=1)"]
MAPS = ("unperturbed", "perturbed")

MEMORY = 3 * 2**30  # address space, most of which is code and never touched

# What the disk does to files does not depend on how kernels are compiled.
once = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT", "0") != "0" or os.environ.get("NUMBA_BOUNDSCHECK", "0") != "0",
    reason="faults of files are injected in the compiled run only",
)

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["pytest", "lensmetrics.scoring.files", "lensmetrics.pairfile.writer", "lensmetrics.report.page"]
)

# ("value", value), ("error", class, message), ("hang",) or ("crash",)
Answer = tuple[Any, ...]
Call = tuple[Callable[..., Any], tuple[Any, ...]]


class Helper:
    """A process that calls functions on request, and may hang or crash in one; use it in a ``with``."""

    def __init__(self, seconds: float = 120.0) -> None:
        # No daemon, because some calls start a pool.
        self.child: Child[Call, Answer] = Child(_call, seconds=seconds, method="forkserver", daemon=False)

    def __enter__(self) -> Self:
        # Loading the kernels can take longer than a damaged file may.
        assert self.ask(_load_kernels) == ("value", None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.child.stop()

    def send(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.child.send((function, arguments))

    def receive(self) -> Answer:
        try:
            return self.child.receive()
        except ChildHung:
            return ("hang",)
        except ChildCrashed:
            return ("crash",)

    def ask(self, function: Callable[..., Any], *arguments: Any) -> Answer:
        self.send(function, *arguments)
        return self.receive()


def _call(call: Call, _: Alive) -> Answer:
    function, arguments = call
    try:
        return "value", function(*arguments)
    except BaseException as error:
        return "error", type(error), str(error)


def _load_kernels() -> None:
    unperturbed, perturbed = maps_of(1)
    lm.score(unperturbed, perturbed, METRICS)


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


def one_sentence(err: str) -> bool:
    """Return whether a command printed one message, besides what a run says of its maps, speed and scores."""
    beside = (
        "scored ",
        "reused ",
        "lensmetrics: the maps hold negative values",
        "the scores so far are kept",
    )
    lines = [line for line in err.splitlines() if not line.startswith(beside)]
    return len(lines) == 1 and lines[0].startswith("lensmetrics: ")


def fill(folder: Path, left: int) -> Path:
    """Leave so many bytes free on a disk."""
    filler = folder / "filler"
    filler.write_bytes(b"x" * (shutil.disk_usage(folder).free - left))
    return filler


def replace_datasets(
    file: h5py.File, names: Sequence[str], shape: tuple[int, ...], dtype: Any, **options: Any
) -> None:
    """Create datasets in the place of others, which need not exist."""
    for name in names:
        file.pop(name, None)
        file.create_dataset(name, shape, dtype, **options)


def fill_with_zeros(file: h5py.File, name: str) -> None:
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
