"""The fuzzers run, find nothing in a few executions, and notice wrong readers."""

import json
import random
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

import lensmetrics as lm
from benchmarks.fuzz import texts
from benchmarks.fuzz.files import pair_file_bases
from benchmarks.fuzz.harness import Finding, check_message
from benchmarks.fuzz.mutations import sealed_structures
from lensmetrics.pairfile.format import checksums

FOLDER = Path(__file__).resolve().parents[1]


# The fuzzer registers a metric that no other test should see.
pytestmark = pytest.mark.usefixtures("own_metrics")


@pytest.mark.large
@pytest.mark.parametrize(("kind", "executions"), [("metrics", 500), ("files", 60), ("tables", 60)])
def test_a_few_executions_find_nothing(kind: str, executions: int) -> None:
    command = [sys.executable, "-m", "benchmarks.fuzz", kind, "--executions", str(executions)]
    process = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout + process.stderr
    counts = json.loads(process.stdout.splitlines()[-1])
    assert counts["executions"] == executions
    assert counts["refused"] > executions // 10


def test_execution_is_always_the_same() -> None:
    whole = list(texts.fuzz_texts(3, 0, 40))
    assert list(texts.fuzz_texts(3, 25, 5)) == whole[25:30]
    rng, again = random.Random("3 7"), random.Random("3 7")
    text, _ = texts.valid_text(rng)
    assert (text, texts.mutated_text(rng, text)) == (
        texts.valid_text(again)[0],
        texts.mutated_text(again, text),
    )


def test_a_wrong_reader_of_texts_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Finding) as caught:
        texts.try_text("lens_recall(k=3)", lm.get_metric("lens_recall", k=4))
    assert caught.value.outcome == "round trip"
    with pytest.raises(Finding) as caught:
        check_message(ValueError("x" * 2000))
    assert caught.value.outcome == "bad message"
    monkeypatch.setattr(texts, "parse_metric", lambda _: 1 / 0)
    assert {outcome for _, outcome, _ in texts.fuzz_texts(0, 0, 5)} == {"unexpected exception"}


@pytest.mark.large
def test_other_values_under_a_right_checksum_are_noticed(tmp_path: Path) -> None:
    for base in pair_file_bases(tmp_path):
        path = tmp_path / base.name
        assert base.check(path) == "equal"
        with h5py.File(path, "r+") as file:
            file["unperturbed"][1] = 0
        assert base.check(path) == "damage noticed"
        with h5py.File(path, "r+") as file:
            maps = [file[name][()] for name in ("unperturbed", "perturbed")]
            maps = [array.astype(array.dtype.newbyteorder("<")) for array in maps]
            label = file["label"][()].astype(np.int64) if "label" in file else None
            file["checksum"][:] = checksums(maps[0], maps[1], file["sample"][()].astype(np.int64), label)
        with pytest.raises(Finding) as caught:
            base.check(path)
        assert caught.value.outcome == "silently different"


@pytest.mark.large
def test_checksums_of_hdf5_are_found(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", libver="latest") as file:
        for i in range(20):  # more than a group holds in its header
            file[f"name{i}"] = np.arange(3)
    data = path.read_bytes()
    found = {data[structure.start : structure.start + 4] for structure in sealed_structures(data)}
    assert found >= {b"\x89HDF", b"OHDR", b"FRHP", b"FHDB", b"BTHD", b"BTLF"}
    assert (
        sum(data[structure.start : structure.start + 4] == b"OHDR" for structure in sealed_structures(data))
        > 20
    )
