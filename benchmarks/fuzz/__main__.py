"""Feed damaged input to everything that reads some, and count what becomes of it.

    python -m benchmarks.fuzz metrics --executions 1000000 --seed 0
    python -m benchmarks.fuzz metrics --executions 1000000 --seed 0 --atheris    # guided by coverage
    python -m benchmarks.fuzz files --executions 100000 --seed 0                 # pair files
    python -m benchmarks.fuzz tables --executions 50000 --seed 0                 # journals, CSV, Parquet
    python -m benchmarks.fuzz files --seed 0 --first 4711 --executions 1         # one execution again

Execution i of a seed is always the same one. Files are read in a process that may crash or hang: it is
started again behind the execution that ended it. The exit status is 1 where something was found that
the package answers for; crashes and hangs inside HDF5 or Arrow are counted, and named by their execution.
"""

import argparse
import collections
import contextlib
import functools
import json
import math
import multiprocessing
import os
import random
import re
import resource
import signal
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.fuzz.mutations import Sealed, Span, mutate, sealed_structures
from lensmetrics.errors import FormatError
from lensmetrics.metrics import registry
from lensmetrics.metrics.registry import Metric, get_metric, parse_metric
from lensmetrics.pairfile.format import checksums
from lensmetrics.pairfile.store import PairStore
from lensmetrics.pairfile.verification import verify
from lensmetrics.pairfile.writer import PairWriter
from lensmetrics.pairs.mappair import MapPair
from lensmetrics.scoring.journal import Journal
from lensmetrics.scoring.worker import SliceScores
from lensmetrics.tables.files import read_scores, write_scores
from lensmetrics.tables.texts import read_number, split_metric

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


# Texts of metrics

_FRAGMENTS = [
    *("(", ")", "=", ",", "((", "))", "==", ",,", "()", "(=)", "=,", "k=1", "w=1", "k=1,k=1", "pool=None"),
    *("", " ", "\t", "\n", "\r", "\0", "\x1c", "\x85", "\xa0", "\u2003", "\u200b", "\u202e", "\ufeff"),
    *("0", "1", "-1", "+3", "007", "1_0", "1__0", "0x10", "1e3", "1e400", "-1e-400", "2.5", ".5", "5.", "1j"),
    *("inf", "-inf", "nan", "Infinity", "NaN", "True", "None", "9" * 400, "-" + "9" * 4300, "9" * 4301),
    *("\u0663", "\uff11", "\u09e7\u09e8", "\u00b2", "\u2167", "\U0001d7d9", "\u4e00", "\u0130", "\u1e9e"),
    *("name", "params", "pair", "self", "function", "text", "__class__", "\uff4b", "\u212a", "\xb5"),
    *("'", '"', "\\", "%s", "{}", "{0}", "*", "**", "\ud800", "\udfff", "e\u0301", "\U0001f600", "k:1"),
    *("lens_recal", "kendalll", "Spearman", "lens_recall_div_published", "mse", "_", "a" * 300),
]
_SPACES = ["", "", "", " ", "  ", "\t", "\n", "\r\n", "\x0b"]
_WIDE_SPACES = [*_SPACES, "\xa0", "\u2003", "\u3000", "\x1f"]


def own_metric(pair: MapPair, *, level: float = 0.5, n: int = 3) -> float:
    """Stand in for a metric of a user, with parameters that need not be whole numbers."""
    return math.nan


def valid_text(rng: random.Random) -> tuple[str, Metric]:
    """Return the text of a metric, spelled in some way, and what it says."""
    name = rng.choice(registry.list_metrics())
    params: dict[str, int | float] = {}
    for key, parameter in registry.entries()[name].parameters.items():
        if parameter.default is parameter.empty or rng.random() < 0.5:
            whole = rng.choice((1, 2, 3, 10, 1000, rng.randrange(1, 10 ** rng.choice((3, 9, 30, 300)))))
            real = rng.choice((rng.uniform(-9, 9), 1e-300, 1e300, -0.0, math.inf, math.nan))
            params[key] = rng.choice((real, whole)) if key == "level" else whole
    parts = list(params.items())
    rng.shuffle(parts)
    inside = ",".join(
        rng.choice(_WIDE_SPACES).join(("", key, "=", _spelled(rng, value), "")) for key, value in parts
    )
    space = functools.partial(rng.choice, _SPACES)
    brackets = f"({inside}){space()}" if parts or rng.random() < 0.2 else ""
    return f"{space()}{name}{space()}{brackets}", get_metric(name, **params)


def _spelled(rng: random.Random, value: float) -> str:
    text = repr(value)
    if isinstance(value, int) and rng.random() < 0.3:
        text = f"00{text}"
    return text


def mutated_text(rng: random.Random, text: str) -> str:
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        at, to = sorted((rng.randrange(len(text) + 1), rng.randrange(len(text) + 1)))
        kind = rng.random()
        if kind < 0.4:
            text = text[:at] + rng.choice(_FRAGMENTS) + text[at:]
        elif kind < 0.55:
            text = text[:at] + rng.choice(_FRAGMENTS) + text[at + 1 :]
        elif kind < 0.7:
            text = text[:at] + text[to:]
        elif kind < 0.8:
            text = text[:to] + text[at:]
        elif kind < 0.9:
            text = text[:at] + chr(rng.choice((rng.randrange(128), rng.randrange(0x3000)))) + text[at + 1 :]
        elif kind < 0.98:
            text = text[:at] + valid_text(rng)[0] + text[to:]
        else:
            n = rng.choice((2, 10, 100, 3000 // (len(text) + 1)))
            text = text[:at] + text[at:to] * n + text[to:]
    return text


def try_text(text: str, expected: Metric | None = None) -> str:
    """Return what became of the text of a metric, and raise a finding if that is wrong."""
    metric = None
    started = time.thread_time()
    try:
        metric = parse_metric(text)
    except ValueError as error:
        check_message(error)
    allowed = 0.02 + 2e-6 * len(text)
    # A garbage collection may fall into one call, not into each.
    if time.thread_time() - started > allowed and (spent := _seconds(text)) > allowed:
        raise Finding("slow", f"{spent:.3f} s for {len(text)} characters: {text[:200]!r}")
    if expected is not None and (metric != expected or str(metric) != str(expected)):
        raise Finding("round trip", f"{text[:200]!r} was read as {metric!s:.200}")
    if metric is None:
        return _try_split(text)
    again = parse_metric(str(metric))
    if (again, str(again), hash(again)) != (metric, str(metric), hash(metric)):
        raise Finding("round trip", f"{text[:200]!r} is {metric!s:.200}, which is read as {again!s:.200}")
    return "a metric"


def _try_split(text: str) -> str:
    """Names of columns need not be metrics that are known here."""
    try:
        name, params = split_metric(text)
    except ValueError as error:
        check_message(error)
        return "refused"
    again = split_metric(f"{name}({','.join(f'{key}={value}' for key, value in params.items())})")
    if repr(again) != repr((name, params)):
        raise Finding("round trip", f"{text[:200]!r} is {(name, params)}, which is read as {again}")
    return "text alone"


def fuzz_texts(seed: int, first: int, executions: int) -> Iterator[tuple[int, str, str]]:
    """Yield number, outcome and detail of every execution."""
    registry.register(bounds=(-math.inf, math.inf), best=None)(own_metric)
    for i in range(first, first + executions):
        rng = random.Random(f"{seed} {i}")
        text, expected = valid_text(rng)
        changed = rng.random() < 0.8
        try:
            yield i, try_text(mutated_text(rng, text)) if changed else try_text(text, expected), ""
        except Finding as finding:
            yield i, finding.outcome, finding.detail
        except Exception as error:
            yield i, "unexpected exception", f"{error!r:.300} for {text[:200]!r}"


# Families of texts that grow; a reader that goes back in them again and again takes n * n steps.
FAMILIES: Mapping[str, Callable[[int], str]] = {
    "spaces": lambda n: " " * n,
    "word": lambda n: "a" * n,
    "word, spaces, no end": lambda n: "kendall" + " " * n + "!",
    "spaces before": lambda n: " " * n + "kendall!",
    "opened": lambda n: "kendall" + "(" * n,
    "opened and closed": lambda n: "kendall" + "(" * (n // 2) + ")" * (n // 2) + "!",
    "closed after spaces": lambda n: "kendall(" + ")  " * (n // 3) + "!",
    "commas": lambda n: "kendall(" + "," * n + ")",
    "repeated key": lambda n: "kendall(" + "k=1," * (n // 4) + ")",
    "keys": lambda n: "kendall(" + ",".join(f"k{i}=1" for i in range(n // 8)) + ")",
    "digits": lambda n: "lens_recall(k=" + "9" * n + ")",
    "digits of a float": lambda n: "lens_recall(k=." + "9" * n + ")",
    "underscores": lambda n: "lens_recall(k=" + "1_" * (n // 2) + "1)",
    "no number": lambda n: "lens_recall(k=" + "x" * n + ")",
    "spaces inside": lambda n: "lens_recall(k=" + " " * n + "1)",
    "equals": lambda n: "lens_recall(" + "=" * n + ")",
}


def _seconds(text: str) -> float:
    """Return the best of three times that reading a text takes."""
    best = math.inf
    for _ in range(3):
        started = time.thread_time()
        with contextlib.suppress(ValueError):
            parse_metric(text)
        best = min(best, time.thread_time() - started)
    return best


def scaling() -> Iterator[tuple[str, float, float]]:
    """Yield for each family the seconds for 64 thousand and for a million characters."""
    for name, family in FAMILIES.items():
        seconds = []
        for n in (2**16, 2**20):
            seconds.append(_seconds(family(n)))
        yield name, seconds[0], seconds[1]


def fuzz_with_atheris(seed: int, executions: int) -> None:
    """Let libFuzzer look for texts that reach new branches; it ends the process."""
    import atheris

    registry.register(bounds=(-math.inf, math.inf), best=None)(own_metric)
    for function in (parse_metric, split_metric, get_metric, read_number, registry._checked):
        atheris.instrument_func(function)
    counts: collections.Counter[str] = collections.Counter()

    def try_bytes(data: bytes) -> None:
        provider = atheris.FuzzedDataProvider(data)
        # Few bytes rarely spell a name.
        name = provider.PickValueInList([*registry.list_metrics(), ""])
        counts[try_text(name + provider.ConsumeUnicode(4096))] += 1
        if counts.total() in (executions // 2, executions):
            print(json.dumps({"fuzzer": "metrics, atheris", "seed": seed, **counts}), flush=True)

    options = [
        f"-runs={executions}",
        f"-seed={seed}",
        "-max_len=400",
        f"-artifact_prefix={tempfile.gettempdir()}/",
    ]
    atheris.Setup([sys.argv[0], *options], try_bytes)
    atheris.Fuzz()


# Bytes of files

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


def _maps(n: int, *shape: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    first, second = np.random.default_rng(n).normal(size=(2, n, *shape)).astype(np.float32)
    return first, second


def pair_file_bases(folder: Path) -> list[Base]:
    """Write one pair file of each layout."""
    numbers = np.arange(4)
    columns: dict[str, Any] = {
        "label": numbers,
        "prediction": numbers,
        "prediction_perturbed": numbers + 1,
        "perturbation_linf": numbers / 8,
        "perturbation_l2": numbers / 4,
        "image": np.arange(4 * 12, dtype=np.uint8).reshape(4, 3, 4),
        "image_perturbed": np.arange(4 * 12, dtype=np.float32).reshape(4, 3, 4),
        "name": ["a.png", "b.png", "ü.png", "d.png"],
        "n_accepted": numbers,
        "best_step": numbers - 1,
        "output": np.arange(8, dtype=np.float32).reshape(4, 2),
        "target": np.arange(4 * 12, dtype=np.float32).reshape(4, 3, 4),
    }
    layouts: dict[str, tuple[dict[str, Any], dict[str, Any], Sequence[str]]] = {
        "plain": ({}, {}, ["label"]),
        "bare": ({}, {}, []),
        "channels": ({"channels": 2}, {"reduction": "abs_max"}, ["label"]),
        "gzip": ({"compression": "gzip"}, {}, ["label"]),
        "images": ({}, {"eps": 0.1, "seeds": [1, 2], "model": "net"}, list(columns)),
        "gzip_images": ({"compression": "gzip"}, {}, list(columns)),
    }
    for name, (options, attrs, given) in layouts.items():
        shape = (2, 3, 4) if "channels" in options else (3, 4)
        maps = _maps(4, *shape)
        path = folder / f"{name}.h5"
        begun = PairWriter(path, n_samples=5, shape=(3, 4), attrs={"attack": "topk", **attrs}, **options)
        with begun as writer:
            values = {key: columns[key] for key in given}
            writer.write(slice(0, 4), *maps, sample=numbers + 10, **values)
    _write_foreign(folder / "big_endian.h5", ">f8", {}, "earliest")
    _write_foreign(folder / "chunked.h5", "<f8", {"chunks": (2, 3, 2), "fletcher32": True}, "latest")
    _write_foreign(folder / "old.h5", "<f4", {}, "earliest")
    bases = []
    for path in sorted(folder.glob("*.h5")):
        data = path.read_bytes()
        # Damage to the metadata goes deepest, and a map is damaged alike everywhere.
        metadata = _metadata(path, data)
        if path.stem not in ("bare", "old"):
            # HDF5 hangs on many damages to a global heap; elsewhere there is more to find.
            metadata = [(start, stop) for start, stop in metadata if b"GCOL" not in data[start:stop]]
        spans = [(0, len(data)), *(metadata * (1 + 50 // len(metadata)))]
        bases.append(Base(path.name, data, spans, sealed_structures(data), PairFileCheck(path)))
    return bases


def _write_foreign(path: Path, dtype: str, options: Mapping[str, Any], libver: str) -> None:
    """Write a pair file as another program might."""
    with h5py.File(path, "w", libver=libver) as file:
        file.attrs["format"] = np.bytes_("lensmetrics-pairs")
        file.attrs["format_version"] = np.array([1], np.int32)
        file.attrs["eps"] = 0.1
        file.attrs["note"] = "as a text of variable length"
        maps = [array.astype(dtype) for array in _maps(4, 3, 4)]
        for name, array in zip(("unperturbed", "perturbed"), maps, strict=True):
            file.create_dataset(name, data=array, **options)
        file["sample"] = np.arange(4, dtype=">i4")
        file["label"] = np.arange(4, dtype=np.int16)
        file["complete"] = np.ones(4, np.uint8)
        little = [array.astype(array.dtype.newbyteorder("<")) for array in maps]
        numbers = np.arange(4)
        file["checksum"] = np.array(checksums(little[0], little[1], numbers, numbers), np.uint32)


def _metadata(path: Path, data: bytes) -> list[Span]:
    """Return where neither values of a dataset lie nor space that is not used."""
    used = np.ones(len(data), dtype=bool)
    with h5py.File(path) as file:
        for dataset in file.values():
            if dataset.chunks is not None:
                for i in range(dataset.id.get_num_chunks()):
                    chunk = dataset.id.get_chunk_info(i)
                    used[chunk.byte_offset : chunk.byte_offset + chunk.size] = False
            elif dataset.id.get_offset() is not None:
                start = dataset.id.get_offset()
                used[start : start + dataset.id.get_storage_size()] = False
    for zeros in re.finditer(rb"\0{32,}", data):
        used[zeros.start() + 8 : zeros.end() - 8] = False
    ends = np.flatnonzero(np.diff(used, prepend=False, append=False)).tolist()
    return list(zip(ends[::2], ends[1::2], strict=True))


def _raw(store: PairStore) -> tuple[list[bytes], list[str], list[object]]:
    """Read all of a file: the bytes of each sample, its status, and what no checksum covers."""
    rows: list[bytes] = []
    statuses: list[str] = []
    # As many samples at once as the package itself would take.
    for start, stop in store._blocks():
        unperturbed, perturbed, status = store.read_block(start, stop)
        statuses += status
        for row in range(stop - start):
            label = None if store.label is None else int(store.label[start + row])
            identity = repr((int(store.sample[start + row]), label, unperturbed.dtype.str, store.shape))
            rows.append(unperturbed[row].tobytes() + perturbed[row].tobytes() + identity.encode())
    free: list[object] = [sorted(store.attrs.items()), store.complete.tolist(), store.n_channels]
    for i in range(len(store)):
        for name in ("prediction", "prediction_perturbed", "name", "n_accepted", "best_step"):
            column = getattr(store, name)
            free.append(None if column is None or not store.complete[i] else column.tolist()[i])
    images = store.read_image(len(store) // 2)
    free += [None if image is None else (image.dtype.str, image.tobytes()) for image in images]
    return rows, statuses, free


class PairFileCheck:
    """Opens and reads a pair file, and compares it with what the sound one holds."""

    def __init__(self, path: Path) -> None:
        self.rows, self.statuses, self.free = _raw(PairStore(path))
        self.reduction = PairStore(path).reduction

    def __call__(self, path: Path) -> str:
        try:
            store = PairStore(path)
            rows, statuses, free = _raw(store)
        except (FormatError, OSError) as error:
            check_message(error, path)
            return "refused"
        if store.reduction != self.reduction:  # an attribute: the samples' checksums do not cover it
            return "damage noticed" if store.metadata_damaged else "uncovered"
        for i, (row, status) in enumerate(zip(rows, statuses, strict=True)):
            if not status and (i >= len(self.rows) or self.statuses[i] or row != self.rows[i]):
                raise Finding("silently different", f"sample at position {i}")
        if statuses != self.statuses:
            return "damage noticed"
        if repr(free) == repr(self.free):
            return "equal"
        return "damage noticed" if verify(path) else "uncovered"


def table_bases(folder: Path) -> list[Base]:
    """Write a journal, and tables of both kinds."""
    n = 12
    rng = np.random.default_rng(0)
    scores = pd.DataFrame(
        {
            "file": pd.Categorical(["a.h5"] * 6 + ["b, c.h5"] * 6),
            "attack": pd.Categorical(["topk"] * 6 + ["2"] * 6),
            "eps": pd.Categorical([0.1] * 6 + [8 / 255] * 6),
            "attack_k": pd.Categorical([100] * 6 + [None] * 6),
            "sample": np.arange(n),
            "label": pd.array([None, *range(1, n)], dtype="Int64"),
            "status": ["ok"] * 10 + ["nan_map", "tied_cut;few_diverse"],
            "kendall": rng.normal(size=n),
            "lens_recall(k=5,w=1)": [*rng.normal(size=n - 2), math.nan, math.inf],
        }
    )
    slices = [(f"{i:032x}", 3, i % 2 == 0) for i in range(4)]
    with Journal(folder / "whole.parquet") as journal:
        journal.finish(scores, slices, [folder / "a.h5"])
    scores["label"] = scores["label"].fillna(0)
    write_scores(scores, folder / "s.csv")
    values = scores[["kendall", "lens_recall(k=5,w=1)"]].to_numpy()
    kept = {
        key: SliceScores(values[3 * i : 3 * i + 3], scores["status"].tolist()[3 * i : 3 * i + 3], signed)
        for i, (key, _, signed) in enumerate(slices)
    }
    journal = Journal(folder / "j.parquet")
    for key, found in kept.items():
        journal.add(key, found)
    journal._file.close()
    data = journal.path.read_bytes()
    journal.path.unlink()
    whole = folder / "whole.parquet"
    parquet, csv = whole.read_bytes(), (folder / "s.csv").read_bytes()
    everywhere = [(0, len(parquet)), (len(parquet) * 3 // 4, len(parquet))]
    read = JournalCheck(kept, resealed=False)
    return [
        Base("j.parquet.part", data, [(0, len(data))], [], read),
        Base("j.parquet.part", data, [], [], JournalCheck(kept, resealed=True), _other_line),
        Base("p.parquet", parquet, everywhere, [], TableCheck(whole)),
        Base("s.csv", csv, [(0, len(csv))], [], TableCheck(folder / "s.csv")),
        Base("r.parquet", parquet, everywhere, [], read),
    ]


def _other_line(rng: random.Random, data: bytes) -> bytes:
    """Change a journal so that its lines have the right checksums."""
    lines = [line.partition(b" ")[2] for line in data.splitlines()]
    i = rng.randrange(len(lines))
    lines[i] = mutate(rng, lines[i], [(0, len(lines[i]))], [])
    if rng.random() < 0.3:
        part = rng.choice(('"a"', "[]", "{}", "null", "1", "NaN", '""', '["ok"]', "[1]", "[[]]", '"YQ=="'))
        texts = list(map(json.dumps, json.loads(data.splitlines()[i].partition(b" ")[2])))
        texts[rng.randrange(len(texts))] = part
        lines[i] = f"[{', '.join(texts)}]".encode()
    return b"".join(b"%08x %s\n" % (zlib.crc32(line), line) for line in lines)


class JournalCheck:
    """Resumes from a journal or a table, and compares what it takes over with what was written."""

    def __init__(self, kept: Mapping[str, SliceScores], *, resealed: bool) -> None:
        self.kept = {key: (found.values.tobytes(), found.status, found.signed) for key, found in kept.items()}
        self.resealed = resealed

    def __call__(self, path: Path) -> str:
        output = path.with_name(path.name.removesuffix(".part"))
        try:
            with Journal(output, resume=True) as journal:
                done = journal.done
        except FileExistsError as error:  # nothing in it is as a journal has it
            check_message(error, path)
            return "refused"
        read = {key: (found.values.tobytes(), found.status, found.signed) for key, found in done.items()}
        # A key that no slice has is never asked for.
        other = [key for key in self.kept if read.get(key, self.kept[key]) != self.kept[key]]
        if other and self.resealed:
            return "resealed"
        if other:
            raise Finding("silently different", f"the slice {other[0]}")
        return "equal" if read == self.kept else "damage noticed"


class TableCheck:
    """Reads a table of scores, and compares it with the one that was written."""

    def __init__(self, path: Path) -> None:
        self.scores = read_scores(path)
        self.covered = path.suffix == ".parquet"

    def __call__(self, path: Path) -> str:
        try:
            scores = read_scores(path)
        except (ValueError, OSError) as error:
            check_message(error, path)
            return "refused"
        if scores.equals(self.scores):
            return "equal"
        same = scores.shape == self.scores.shape and list(scores) == list(self.scores)
        same = same and np.array_equal(_numbers(scores), _numbers(self.scores), equal_nan=True)
        # Names, types and texts for pandas have no checksums, values have.
        if self.covered and not same and list(scores) == list(self.scores):
            raise Finding("silently different", f"{scores.compare(self.scores).to_dict()}")
        return "uncovered"


def _numbers(scores: pd.DataFrame) -> npt.NDArray[np.float64]:
    return scores.select_dtypes("float").to_numpy(dtype=np.float64)


Progress = Callable[[dict[str, int]], object]
MAKERS = {"files": pair_file_bases, "tables": table_bases}


def run_files(
    bases: list[Base], seed: int, first: int, stop: int, state: Any, connection: Connection, folder: Path
) -> None:
    """Do executions from `first` on, in a process of its own; state holds the number and the counts."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for i in range(first, stop):
        state[0] = i
        # Its signal ends this process, also out of a loop in C.
        signal.setitimer(signal.ITIMER_VIRTUAL, CPU_SECONDS)
        outcome, detail = _execute(bases[i % len(bases)], random.Random(f"{seed} {i}"), folder)
        state[1 + OUTCOMES.index(outcome)] += 1
        if detail:
            connection.send((i, outcome, detail))
    state[0] = stop
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    connection.send(None)
    connection.recv()  # it may end once that was read


def _execute(base: Base, rng: random.Random, folder: Path) -> tuple[str, str]:
    path = folder / base.name
    path.write_bytes(base.damaged(rng))
    try:
        return base.check(path), ""
    except Finding as finding:
        return finding.outcome, f"{base.name}: {finding.detail}"
    except MemoryError as error:
        return "memory", f"{base.name}: {error!r:.300}"
    except Exception as error:
        return "unexpected exception", f"{base.name}: {error!r:.500}"
    finally:
        for left in folder.iterdir():
            left.unlink()


def fuzz_files(
    bases: list[Base], seed: int, first: int, executions: int, folder: Path, progress: Progress
) -> tuple[dict[str, int], list[tuple[int, str, str]]]:
    """Do the executions in a process, and again and again in a new one where that crashes or hangs."""
    context = multiprocessing.get_context("forkserver")  # starts in milliseconds
    state = context.RawArray("q", 1 + len(OUTCOMES))
    named: list[tuple[int, str, str]] = []
    stop = first + executions
    while first < stop:
        connection, end = context.Pipe()
        state[0] = first
        process = context.Process(
            target=run_files, args=(bases, seed, first, stop, state, end, folder), daemon=True
        )
        process.start()
        end.close()
        at, since, finished = first, time.monotonic(), False
        ended = ""
        while not ended and not finished:
            try:
                while connection.poll(0.5) and not finished:
                    message = connection.recv()
                    finished = message is None
                    if message is not None:
                        named.append(message)
            except (EOFError, ConnectionResetError):
                process.join()
                ended = "hang" if process.exitcode == -signal.SIGVTALRM else "crash"
            if state[0] != at:
                at, since = state[0], time.monotonic()
            elif time.monotonic() - since > SECONDS and not ended and not finished:
                process.kill()
                process.join()
                ended = "hang"
            progress(dict(zip(OUTCOMES, state[1:], strict=True)))
        if finished:
            connection.send(None)
            process.join()
        else:
            state[1 + OUTCOMES.index(ended)] += 1
            named.append((state[0], ended, f"exit code {process.exitcode}"))
        connection.close()
        first = state[0] + 1 if ended else stop
    return dict(zip(OUTCOMES, state[1:], strict=True)), named


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("kind", choices=["metrics", *MAKERS])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first execution")
    parser.add_argument("--executions", type=int, default=1_000_000)
    parser.add_argument("--atheris", action="store_true", help="metrics: guided by coverage")
    parser.add_argument("--folder", type=Path, help="where files are damaged; best in memory")
    given = parser.parse_args(arguments)
    started = time.monotonic()
    if given.atheris:
        fuzz_with_atheris(given.seed, given.executions)
    if given.kind == "metrics":
        counts: dict[str, int] = dict.fromkeys(OUTCOMES, 0)
        named = []
        for i, outcome, detail in fuzz_texts(given.seed, given.first, given.executions):
            counts[outcome] += 1
            if detail:
                named.append((i, outcome, detail))
        for name, small, large in scaling():
            print(f"{name}: {small * 1e3:.2f} ms for 2**16 characters, {large * 1e3:.2f} ms for 2**20")
            if large > 0.05 + 32 * small:
                named.append((-1, "slow", f"{name} takes more than linear time"))
                counts["slow"] += 1
    else:
        memory = Path("/dev/shm")
        folder = given.folder or (memory if memory.is_dir() else Path(tempfile.gettempdir()))
        said = [time.monotonic()]

        def progress(counts: dict[str, int]) -> None:
            if time.monotonic() - said[0] > 60:
                said[0] = time.monotonic()
                print(json.dumps({name: n for name, n in counts.items() if n}), file=sys.stderr, flush=True)

        with tempfile.TemporaryDirectory(dir=folder) as own:
            sound, work = Path(own) / "sound", Path(own) / "work"
            sound.mkdir()
            work.mkdir()
            bases = MAKERS[given.kind](sound)
            counts, named = fuzz_files(bases, given.seed, given.first, given.executions, work, progress)
    seconds = time.monotonic() - started
    seen: collections.Counter[str] = collections.Counter()
    for i, outcome, detail in named:
        seen[outcome] += 1
        if seen[outcome] <= N_NAMED:
            print(f"{outcome} in execution {i}: {detail}")
    found = {name: n for name, n in counts.items() if n}
    about = {"fuzzer": given.kind, "seed": given.seed, "first": given.first, "seconds": round(seconds, 1)}
    print(json.dumps({**about, "executions": sum(found.values()), **found}))
    return int(any(counts[name] for name in WRONG))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    raise SystemExit(main())
