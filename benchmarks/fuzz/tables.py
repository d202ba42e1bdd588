"""Damaged journals, and damaged tables in CSV and Parquet."""

import contextlib
import json
import math
import random
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from lensmetrics.scoring.journal import Journal
from lensmetrics.scoring.worker import SliceScores
from lensmetrics.tables.files import read_scores, write_scores

from .harness import Base, Finding, check_message
from .mutations import mutate


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
    with contextlib.suppress(KeyboardInterrupt), Journal(folder / "j.parquet") as journal:
        for key, found in kept.items():
            journal.add(key, found)
        raise KeyboardInterrupt  # keeps what was scored so far
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
    """Resumes from a journal or a table, and compares what it reuses with what was written."""

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
