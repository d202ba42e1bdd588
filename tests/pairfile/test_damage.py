"""Cut files and flip bytes: a damaged file is refused in a sentence, or its samples are named."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.fuzz.mutations import metadata_mask
from lensmetrics.children import Isolated
from lensmetrics.errors import FormatError
from lensmetrics.pairfile.store import PairStore
from lensmetrics.pairfile.verification import verify_files
from lensmetrics.scoring.files import score_files
from tests.pairfile.faults import METRICS, SEED, Answer, Helper, once, write
from tests.pairfile.hostile_openers import open_store


def _scored(store: PairStore) -> list[tuple[Any, ...]]:
    """Return all that a table says of a file except its name, NaN as text."""
    options: dict[str, Any] = {"stop_at_bad_samples": False, "raise_failures": True}
    scores, _ = score_files(store.path, METRICS, open_each=lambda paths: (store for _ in paths), **options)
    assert scores is not None
    scores = scores.drop(columns="file")
    rows = [tuple(map(repr, row)) for row in scores.itertuples(index=False)]
    return [(*scores.columns,), (repr(sorted(store.attrs.items())),), *rows]


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


# Attributes, predictions and norms share one checksum, which only `verify` reports.
COVERED_IN_ALL = {"prediction"}
SENTENCES = {"hangs": "no response within", "crashes": "HDF5 crashed while reading"}


def outcome(answer: Answer, whole: list[tuple[Any, ...]], path: Path, where: str) -> str:
    """Classify the result of scoring a damaged file; fail for what must not happen."""
    assert answer[0] not in ("hang", "crash"), (where, answer)
    if answer[0] == "error":
        assert issubclass(answer[1], FormatError | OSError), (where, answer)
        assert path.name in answer[2], (where, answer)
        hurt = [verb for verb in ("hangs", "crashes") if SENTENCES[verb] in answer[2]]
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
    with Isolated(open_store, seconds=2) as opener:  # as the command opens files
        for i, (kind, place, data) in enumerate(damages(whole, 60, 600, 60)):
            path = tmp_path / f"damaged{i}.h5"
            path.write_bytes(data)
            where = f"{kind} {place} of a file with compression {compression}"
            try:
                answer = helper.ask(_scored, opener(path))
            except (FormatError, OSError) as error:
                answer = "error", type(error), str(error)
            found = outcome(answer, expected, path, where)
            paths.append(path)
            outcomes.append(found)
            places.append(where)
    verdicts = list(verify_files(paths, seconds=2))
    assert [verdict.path for verdict in verdicts] == paths
    for verdict, found, where in zip(verdicts, outcomes, places, strict=True):
        if found.startswith("HDF5"):
            assert any(said in verdict.error for said in SENTENCES.values()), (where, verdict)
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
    hurt = sum(found.startswith("HDF5") for found in outcomes)
    assert hurt <= len(outcomes) // 100
