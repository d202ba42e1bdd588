"""Hostile pair files: each is a sound file, changed on purpose; it is refused in a sentence or read."""

import re
import resource
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from lensmetrics.pairfile.verification import verify_files
from tests.pairfile.faults import (
    MAPS,
    MEMORY,
    METRICS,
    SHAPE,
    Helper,
    command,
    fill_with_zeros,
    once,
    replace_datasets,
    write,
)


def _columns(file: h5py.File, n: int, **options: Any) -> None:
    for name, dtype in (("sample", "i8"), ("complete", "u1"), ("checksum", "u4"), ("label", "i8")):
        replace_datasets(file, [name], (n,), dtype, **options)
    for name in ("prediction", "perturbation_linf", "image", "image_checksum"):
        file.pop(name, None)


def _bomb_of_a_map(file: h5py.File, side: int, chunk: int) -> None:
    replace_datasets(file, MAPS, (1, side, side), "f4", chunks=(1, chunk, chunk), compression="gzip")
    _columns(file, 1)
    file["sample"][:], file["checksum"][:], file["label"][:] = 0, 0, 0
    for name in MAPS:
        fill_with_zeros(file, name)
    file["complete"][:] = 1


def _bomb_of_columns(file: h5py.File) -> None:
    n = 2**28
    replace_datasets(file, MAPS, (n, 1, 1), "f4", chunks=(2**26, 1, 1))
    _columns(file, n, chunks=(2**25,), compression="gzip")
    for name in ("sample", "complete", "checksum", "label"):
        fill_with_zeros(file, name)


def _chunk_of_many_samples(file: h5py.File) -> None:
    options = {"maxshape": (None, *SHAPE), "chunks": (2**20, *SHAPE), "compression": "gzip"}
    replace_datasets(file, MAPS, (6, *SHAPE), "f4", **options)
    for name in MAPS:
        fill_with_zeros(file, name)


def _bomb_of_images(file: h5py.File) -> None:
    replace_datasets(file, ["image"], (6, 9000, 9000), "f4", chunks=(1, 9000, 9000), compression="gzip")
    fill_with_zeros(file, "image")


def _never_allocated(file: h5py.File) -> None:
    replace_datasets(file, MAPS, (6, *SHAPE), "f4")
    file["complete"][:] = 1


def _huge(file: h5py.File, n: int, shape: tuple[int, int], chunked: bool) -> None:
    replace_datasets(
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
    return lambda file: replace_datasets(file, [name], shape, dtype)


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
    replace_datasets(file, ["output"], (6, 10**8), "f4", chunks=(1, 10**8), compression="gzip")
    fill_with_zeros(file, "output")


def _outputs_of_two_lengths(file: h5py.File) -> None:
    _value("output", np.zeros((6, 3), "f4"))(file)
    _value("output_perturbed", np.zeros((6, 4), "f4"))(file)


# What `verify` finds in files that are otherwise good: their bytes have changed since they were finished.
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
        "it must be (6, 8, 9) float32, like the maps",
    ),
    "target: type": (_value("target", np.zeros((6, *SHAPE))), "it must be (6, 8, 9) float32, like the maps"),
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
        # HDF5 crashed here once: it is no better at creating such files.
        made = [maker.ask(_make_hostile, name, base, path)]
        if made[-1] == ("crash",):
            made.append(maker.ask(_make_hostile, name, base, path))
        assert made[-1][0] == "value", (name, made)
        answer = helper.ask(_bounded, path, tmp_path / f"{i}.csv")
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
    status, out, err = helper.ask(command, "inspect", *paths)[1]
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
    assert growth < 300
