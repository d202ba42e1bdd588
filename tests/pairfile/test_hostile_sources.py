"""Hostile files for import: each is refused in a sentence, and leaves nothing."""

import importlib.util
import resource
import struct
import zipfile
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io

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


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _png(*chunks: bytes) -> bytes:
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", 9, 8, 8, 0, 0, 0, 0))
    values = _chunk(b"IDAT", zlib.compress(bytes(80)))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + values + _chunk(b"IEND", b"")


def _tiff(width: int, height: int, following: int = 0) -> bytes:
    tags = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 200, 277: 1, 278: height, 279: 72}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    head = struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", following)
    return (b"II*\0" + head).ljust(200, b"\0") + bytes(72)


def _torch(path: Path, pickled: bytes) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (("data.pkl", pickled), ("byteorder", b"little"), ("version", b"3\n")):
            archive.writestr(f"a/{name}", content)
        archive.writestr("a/data/0", bytes(16))


_LAUGHS = b"".join(b"]q" + bytes([i + 1]) + b"(" + (b"h" + bytes([i])) * 10 + b"e" for i in range(100))
_DEEP = b'{"a":' * 50_000 + b"1" + b"}" * 50_000
OTHERS = {
    "text.png": _png(_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**28)))),
    "pixels.tif": _tiff(2**32 - 1, 2**32 - 1),
    "circle.tif": _tiff(9, 8, 8),
    "length.safetensors": struct.pack("<Q", 2**63) + b"{}",
    "blank.safetensors": struct.pack("<Q", 2**24) + b"{" + b" " * (2**24 - 2) + b"}",
    "deep.safetensors": struct.pack("<Q", len(_DEEP)) + _DEEP,
    "rows.mat": struct.pack("<5i", 0, 2**31 - 1, 1, 0, 2) + b"u\0" + bytes(100),
    "area.mat": struct.pack("<5i", 0, 2**30, 2**30, 0, 2) + b"u\0" + bytes(100),
}
PICKLES = {
    "deep": b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b".",
    "laughs": b"\x80\x02]q\x00" + _LAUGHS + b".",
    "integer": b"\x80\x02\x8a\xff" + b"\x7f" * 255 + b".",
    "text": b"\x80\x02X\xff\xff\xff\x7fabc.",
    "memo": b"\x80\x02]r\xff\xff\xff\x7f.",
    "empty": b"",
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
    good = [tmp_path / "other.npy", tmp_path / "other.mat"]
    scipy.io.savemat(good[1], {"u": maps_of(3)[1]})
    sources: list[tuple[str, Path]] = []
    if importlib.util.find_spec("torch") is not None:
        import torch

        good.append(tmp_path / "other.pt")
        torch.save(torch.from_numpy(maps_of(3)[1]), good[-1])
        for name, data in PICKLES.items():
            sources.append((f"torch: {name}", tmp_path / f"{name}.pt"))
            _torch(sources[-1][1], data)
    for number, source in enumerate(good):  # libraries are in memory from here on
        answer = helper.ask(_import, source, tmp_path / f"good{number}.h5")
        assert answer[1][0][0] == 0, answer
    for name, data in OTHERS.items():
        sources.append((name, tmp_path / name))
        sources[-1][1].write_bytes(data)
    before = highest = answer[1][1]
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
    with h5py.File(tmp_path / "source.mat", "w", userblock_size=512) as file:
        replace_datasets(file, ["a"], (9000, 9000, 1), "f4", chunks=(9000, 9000, 1), compression="gzip")
        fill_with_zeros(file, "a")
    with (tmp_path / "source.mat").open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file")
    sources.append(("matlab: bomb", tmp_path / "source.mat"))
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
