"""Hostile files for import: each is refused in a sentence, and leaves nothing."""

import resource
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.pairfile.faults import (
    MEMORY,
    Helper,
    command,
    fill_with_zeros,
    maps_of,
    once,
    one_sentence,
    replace_datasets,
)
from tests.pairfiles import names_in  # noqa: F401


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
        replace_datasets(file, ["a"], (1, 9000, 9000), "f4", chunks=(1, 9000, 9000), compression="gzip")
        fill_with_zeros(file, "a")
    sources.append(("hdf5: bomb", tmp_path / "source.h5"))
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file["unperturbed"] = file["perturbed"] = h5py.ExternalLink("good.h5", "/unperturbed")
    sources.append(("hdf5: link", tmp_path / "link.h5"))
    for name, source in sources:
        answer = helper.ask(_import, source, tmp_path / "out.h5")
        assert answer[0] == "value", (name, answer)
        (status, _, err), highest = answer[1]
        assert status == 1, (name, err)
        assert one_sentence(err), (name, err)
        assert source.name in err, (name, err)
        assert not (tmp_path / "out.h5").exists()
        assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")], name
    assert not (tmp_path / "owned").exists()
    growth = (highest - before) // 1024
    assert growth < 200
