"""What all fuzzers share: outcomes, and executions in a process that may crash or hang."""

import functools
import multiprocessing
import random
import resource
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lensmetrics.children import Alive, Child, ChildCrashed, ChildHung

from .mutations import Sealed, Span, mutate

# Longer than every message that lists what is known, shorter than a screen.
LONGEST_MESSAGE = 1000
# Of the processor, for one execution: 250 times what reading a sound file takes.
CPU_SECONDS = 1.0
# Of the clock, where something waits instead of working.
SECONDS = 60.0
MEMORY = 8 * 2**30
N_NAMED = 5  # executions of each kind of outcome that are printed

# What the package answers for.
WRONG = ("unexpected exception", "bad message", "silently different", "round trip", "slow", "memory")
OUTCOMES = (
    *("refused", "a metric", "text alone", "equal", "damage noticed", "uncovered", "resealed"),
    *WRONG,
    *("crash", "hang"),
)


class Finding(Exception):
    """An outcome that is worth naming, and what it was."""

    def __init__(self, outcome: str, detail: str) -> None:
        self.outcome, self.detail = outcome, detail


def check_message(error: Exception, path: Path | None = None) -> None:
    """Raise a finding if an error does not say in one short paragraph what is wrong."""
    text = str(error)
    printable = text.isprintable() and text.encode("utf-8", "replace").decode() == text
    if not text or len(text) > LONGEST_MESSAGE or not printable or (path and path.name not in text):
        raise Finding("bad message", f"{type(error).__name__} of {len(text)} characters: {text[:300]!r}")


Check = Callable[[Path], str]


@dataclass(frozen=True)
class Base:
    """Sound bytes under the name of a file, where to damage them, and what to do with the result."""

    name: str
    data: bytes
    spans: list[Span]
    sealed: list[Sealed]
    check: Check
    change: Callable[[random.Random, bytes], bytes] | None = None

    def damaged(self, rng: random.Random) -> bytes:
        if self.change is not None:
            return self.change(rng, self.data)
        return mutate(rng, self.data, self.spans, self.sealed)


Progress = Callable[[dict[str, int]], object]
Named = tuple[int, str, str]  # number of an execution, outcome and detail


def execute(bases: list[Base], seed: int, folder: Path, i: int, _: Alive) -> tuple[str, str]:
    """Do one execution, in a child process; return its outcome, and a detail if that is worth naming."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Its signal ends this process, even in a loop in C.
    signal.setitimer(signal.ITIMER_VIRTUAL, CPU_SECONDS)
    base = bases[i % len(bases)]
    path = folder / base.name
    path.write_bytes(base.damaged(random.Random(f"{seed} {i}")))
    try:
        return base.check(path), ""
    except Finding as finding:
        return finding.outcome, f"{base.name}: {finding.detail}"
    except MemoryError as error:
        return "memory", f"{base.name}: {error!r:.300}"
    except Exception as error:
        return "unexpected exception", f"{base.name}: {error!r:.500}"
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        for left in folder.iterdir():
            left.unlink()


def fuzz_files(
    bases: list[Base], seed: int, first: int, executions: int, folder: Path, progress: Progress
) -> tuple[dict[str, int], list[Named]]:
    """Do the executions in a child process, which is replaced by a new one if it crashes or hangs."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(["benchmarks.fuzz.__main__"])
    counts = dict.fromkeys(OUTCOMES, 0)
    named: list[Named] = []
    function = functools.partial(execute, bases, seed, folder)
    with Child(function, seconds=SECONDS, method="forkserver") as child:
        for i in range(first, first + executions):
            try:
                outcome, detail = child(i)
            except ChildHung:
                outcome, detail = "hang", f"no end in {SECONDS:g} s"
            except ChildCrashed as error:
                outcome = "hang" if error.exitcode == -signal.SIGVTALRM else "crash"
                detail = str(error)
            counts[outcome] += 1
            if detail:
                named.append((i, outcome, detail))
            progress(counts)
    return counts, named
