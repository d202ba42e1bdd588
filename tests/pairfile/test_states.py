"""Random sequences of actions: a pair file and a resumed run behave like simple models of them."""

import shutil
import tempfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
import xarray as xr
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from numpy.typing import NDArray

import lensmetrics as lm
from lensmetrics.pairfile.store import PairStore
from lensmetrics.pairfile.verification import verify
from lensmetrics.pairfile.writer import PairWriter
from lensmetrics.scoring.journal import may_be_journal, read_line
from lensmetrics.tables.files import UNREADABLE
from tests.pairfiles import close_all, write_file
from tests.scoring.runs import Watcher, evaluate

N_EXAMPLES = settings().max_examples // 8  # one takes a second

OPTIONAL = (
    "label",
    "prediction",
    "perturbation_l2",
    "image",
    "image_perturbed",
    "name",
    "n_accepted",
    "output",
)
# Maps as they come, and the type that holds them exactly.
KINDS = {
    "float16": "float32",
    "float32": "float32",
    "float64": "float64",
    "int16": "float32",
    "int64": "float64",
}
EPS = [0.1, 0.2, float("nan")]

seeds = st.integers(0, 2**20)


@dataclass
class Row:
    """What was written for one sample."""

    sample: int
    maps: NDArray[Any]  # unperturbed, perturbed
    values: dict[str, Any]

    @property
    def checksum(self) -> int:
        numbers = [self.sample, *([self.values["label"]] if "label" in self.values else [])]
        return zlib.crc32(
            self.maps.tobytes() + b"".join(n.to_bytes(8, "little", signed=True) for n in numbers)
        )

    @property
    def image_checksum(self) -> int:
        beside = ("image", "image_perturbed", "output")
        return zlib.crc32(b"".join(self.values[name].tobytes() for name in beside if name in self.values))


@dataclass
class Model:
    """What a pair file should hold."""

    n: int
    shape: tuple[int, int]
    channels: int | None
    attrs: dict[str, Any]
    rounded_to: str | None
    dtype: str | None = None  # until the first batch tells
    optional: frozenset[str] | None = None
    rows: dict[int, Row] = field(default_factory=dict)
    damaged: dict[int, str] = field(default_factory=dict)

    @property
    def stored_shape(self) -> tuple[int, ...]:
        return self.shape if self.channels is None else (self.channels, *self.shape)

    @property
    def missing(self) -> list[int]:
        return [position for position in range(self.n) if position not in self.rows]

    def statuses(self) -> list[str]:
        return [
            "incomplete" if i not in self.rows else "checksum" if self.damaged.get(i) == "checksum" else ""
            for i in range(self.n)
        ]

    def problems(self) -> list[tuple[int, str]]:
        missing = dict.fromkeys(self.missing, "incomplete")
        return sorted((missing | self.damaged).items())

    def need(self, kind: str) -> str:
        """The type that the file would have after maps of that kind."""
        return self.dtype or self.rounded_to or KINDS[kind]

    def takes(self, kind: str) -> bool:
        return self.rounded_to is not None or KINDS[kind] <= self.need(kind)


def same(found: object, expected: object) -> bool:
    """Equal, with NaN equal to itself."""
    return repr(found) == repr(expected)


class PairFile(RuleBasedStateMachine):
    """Writes, stops, kills, damages and resumes one pair file."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.image = self.folder / "image" / "crashed.h5"
        self.image.parent.mkdir()
        self.path = self.folder / "files" / "a.h5"
        self.path.parent.mkdir()
        self.part = self.path.with_name("a.h5.part")
        self.model: Model | None = None
        self.writer: PairWriter | None = None
        self.left_over = 0  # files without any sample, left by kills
        self.fingerprints: dict[str, object] = {}

    def teardown(self) -> None:
        if self.writer is not None:
            close_all(self.path.parent)
        shutil.rmtree(self.folder)

    # What is there

    def names(self) -> list[str]:
        return sorted(path.name for path in self.path.parent.iterdir() if not path.name.startswith(".a.h5."))

    def bytes_now(self) -> bytes | None:
        """What a kill in this moment would leave under a name that can be resumed."""
        for path in (self.path, self.part):
            if path.exists():
                return path.read_bytes()
        return None

    def open_writer(self) -> tuple[PairWriter, Model]:
        assert self.writer is not None
        assert self.model is not None
        return self.writer, self.model

    def closed_model(self) -> Model:
        assert self.writer is None
        assert self.model is not None
        return self.model

    def begin(self, data: st.DataObject) -> tuple[PairWriter, Model]:
        """Return the open writer, a resumed one, or a new one."""
        if self.writer is None and self.model is not None:
            self.resume(self.model.attrs)
        if self.writer is None and self.model is not None:  # it was complete
            self.path.unlink()
            self.model = None
        if self.model is None:
            shape = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 4)))
            attrs: dict[str, Any] = {
                "attack": "topk",
                "eps": data.draw(st.sampled_from(EPS)),
                "seeds": [1, 2],
            }
            reduction = data.draw(st.sampled_from([None, "sum", "abs_max"]))
            if reduction is not None:
                attrs["reduction"] = reduction
            self.model = Model(
                data.draw(st.integers(2, 6)),
                shape,
                data.draw(st.none() | st.integers(1, 3)),
                attrs,
                data.draw(st.sampled_from([None, None, "float32", "float64"])),
            )
            self.writer = PairWriter(
                self.path,
                n_samples=self.model.n,
                shape=shape,
                attrs=attrs,
                channels=self.model.channels,
                compression=data.draw(st.sampled_from([None, None, "gzip"])),
                dtype=self.model.rounded_to,
            )
        return self.open_writer()

    # Rules

    @rule()
    def create_where_something_is(self) -> None:
        if not self.names():
            return
        before = self.bytes_now()
        with pytest.raises(FileExistsError):
            PairWriter(self.path, n_samples=1, shape=(1, 1), attrs={})
        assert self.bytes_now() == before

    def draw_rows(
        self, model: Model, positions: list[int], seed: int, optional: frozenset[str], kind: str = "float32"
    ) -> list[Row]:
        rng = np.random.default_rng(seed)
        free = [number for number in range(100) if number not in {row.sample for row in model.rows.values()}]
        rows = []
        for number in rng.permutation(free)[: len(positions)].tolist():
            scale = 2**40 if kind == "int64" else 100 if kind == "int16" else 1
            maps = (rng.normal(size=(2, *model.stored_shape)) * scale).astype(kind)
            if kind == "int64":
                maps.reshape(-1)[0] = 2**24 + 1  # the others could be small
            if maps.dtype.kind == "f" and rng.random() < 0.2:
                maps.reshape(-1)[rng.integers(maps.size)] = rng.choice([np.nan, np.inf, -0.0])
            drawn: dict[str, Any] = {
                "label": int(rng.integers(-3, 9)),
                "prediction": int(rng.integers(9)),
                "perturbation_l2": float(np.float32(rng.random())),
                "image": rng.integers(0, 256, (2, 3)).astype(np.uint8),
                "image_perturbed": rng.random((2, 3), dtype=np.float32),
                "name": f"{number}/ü.png",
                "n_accepted": int(rng.integers(2)),
                "output": rng.random(4, dtype=np.float32),
            }
            rows.append(Row(number, maps, {name: drawn[name] for name in OPTIONAL if name in optional}))
        return rows

    @staticmethod
    def arguments(rows: list[Row], *, batch: bool) -> tuple[list[Any], dict[str, Any]]:
        maps = np.stack([row.maps for row in rows], axis=1)
        given: dict[str, Any] = {"sample": np.array([row.sample for row in rows])}
        for name in rows[0].values:
            given[name] = np.stack([np.asarray(row.values[name]) for row in rows])
        if batch:
            return list(maps), given
        return [maps[0, 0], maps[1, 0]], {name: values[0] for name, values in given.items()}

    @rule(data=st.data(), seed=seeds, optional=st.frozensets(st.sampled_from(OPTIONAL)))
    def write(self, data: st.DataObject, seed: int, optional: frozenset[str]) -> None:
        writer, model = self.begin(data)
        if not model.missing:
            return
        start = data.draw(st.sampled_from(model.missing))
        step, stop = data.draw(st.integers(1, 2)), start + 1
        while stop < model.n and stop in model.missing and data.draw(st.booleans()):
            stop += step
        positions = list(range(start, min(stop, model.n), step))
        if any(position not in model.missing for position in positions):
            positions = [start]
        batch = len(positions) > 1 or data.draw(st.booleans())
        index: int | slice = slice(start, positions[-1] + 1, step) if batch else start
        kind = data.draw(st.sampled_from(list(KINDS)))
        held = optional if model.optional is None else model.optional
        rows = self.draw_rows(model, positions, seed, held, kind)
        maps, given = self.arguments(rows, batch=batch)
        if not model.takes(kind):
            before = self.bytes_now()
            with pytest.raises(ValueError, match=r"needs float64, but .* (holds|was created as) float32"):
                writer.write(index, *maps, **given)
            assert self.bytes_now() == before
            return
        writer.write(index, *maps, **given)
        model.dtype = model.need(kind)
        for row in rows:
            row.maps = row.maps.astype(model.dtype)
        model.optional = frozenset(rows[0].values)
        model.rows.update(zip(positions, rows, strict=True))

    @rule(data=st.data(), seed=seeds)
    def write_what_is_wrong(self, data: st.DataObject, seed: int) -> None:
        _, model = self.begin(data)
        kinds = ["shape", "axes", "type", "range", "before", "slice", "text", "number", "large", "masked"]
        kinds += ["repeat", "again"] if model.rows else []
        kinds += ["set"] if model.optional is not None else []
        for kind in kinds:
            self.refuse(kind, data, seed)

    def refuse(self, kind: str, data: st.DataObject, seed: int) -> None:
        writer, model = self.open_writer()
        optional = frozenset() if model.optional is None else model.optional
        position = model.missing[0] if model.missing else 0
        (row,) = self.draw_rows(model, [position], seed, optional)
        (unperturbed, perturbed), given = self.arguments([row], batch=False)
        index: Any = position
        if kind == "shape":
            perturbed = perturbed[..., :-1]
        elif kind == "axes":
            unperturbed = unperturbed[np.newaxis, np.newaxis]  # a single one would be one channel
        elif kind == "type":
            unperturbed = unperturbed.astype(complex)
        elif kind == "range":
            index = model.n
        elif kind == "before":
            index = -1
        elif kind == "slice":  # would be cut off where the file ends
            index = slice(model.n - 1, model.n + 1)
        elif kind == "text":
            index = "0"
        elif kind == "number":
            given["sample"] = data.draw(st.sampled_from([-1, 1.5, [3]]))
        elif kind == "masked":
            given["sample"] = np.ma.masked
        elif kind == "large":
            if model.rounded_to == "float64":
                return  # nothing is too large for it
            perturbed = np.full(model.stored_shape, 1e300 if model.rounded_to else 2**53 + 1)
        elif kind == "repeat":
            given["sample"] = data.draw(st.sampled_from(sorted(row.sample for row in model.rows.values())))
        elif kind == "again":
            index = data.draw(st.sampled_from(sorted(model.rows)))
        else:
            changed = data.draw(st.sampled_from(OPTIONAL))
            if changed in given:
                del given[changed]
            else:
                given[changed] = self.draw_rows(model, [0], seed, frozenset(OPTIONAL))[0].values[changed]
        before = self.bytes_now()
        with pytest.raises((ValueError, TypeError, IndexError)) as caught:
            writer.write(index, unperturbed, perturbed, **given)
        assert len(str(caught.value).splitlines()) == 1
        assert self.bytes_now() == before

    @rule(how=st.sampled_from(["error", "kill", "finish"]))
    def end(self, how: str) -> None:
        if self.writer is None:
            return
        writer, model = self.open_writer()
        self.writer = None
        if how == "finish":
            writer.__exit__(None, None, None)
            assert self.names() == ["a.h5"]
            self.check_xarray(self.path)
            return
        if how == "error":
            writer.__exit__(KeyError, KeyError("stopped"), None)
        else:
            images = {path: path.read_bytes() for path in self.path.parent.iterdir()}
            close_all(self.path.parent)
            for path, image in images.items():
                path.write_bytes(image)
            self.left_over += int(model.optional is None)
        if model.optional is None:
            self.model = None
        with pytest.raises(ValueError, match="is closed"):
            writer.write(0, np.zeros(model.stored_shape), np.zeros(model.stored_shape))

    @rule(eps=st.sampled_from(EPS), other=st.sampled_from([{}, {"seed": 1}]))
    def resume_with(self, eps: float, other: dict[str, int]) -> None:
        if self.writer is not None:
            return
        if self.model is None:
            with pytest.raises(FileNotFoundError, match="to resume"):
                PairWriter.resume(self.path, {})
            return
        attrs = {**self.model.attrs, "eps": eps, **other}
        if same(attrs, self.model.attrs):
            self.resume(attrs)
            return
        before = self.bytes_now()
        with pytest.raises(ValueError, match="attributes differ from those of"):
            PairWriter.resume(self.path, attrs)
        assert self.bytes_now() == before

    def resume(self, attrs: dict[str, Any]) -> None:
        model = self.closed_model()
        dtype = model.rounded_to
        if self.path.exists() and not model.missing and not model.damaged:
            with pytest.raises(FileExistsError, match="is complete"):
                PairWriter.resume(self.path, attrs, dtype=dtype)
            return
        self.writer = PairWriter.resume(self.path, attrs, dtype=dtype)
        for position in model.damaged:
            del model.rows[position]
        model.damaged.clear()
        # A file that was finished without a sample holds no optional variables either.
        model.dtype = model.dtype or dtype or "float32"
        model.optional = frozenset() if model.optional is None else model.optional

    @rule(
        data=st.data(),
        variable=st.sampled_from(["unperturbed", "perturbed", "label", "checksum", "image", "output"]),
    )
    def damage(self, data: st.DataObject, variable: str) -> None:
        self.end("kill")
        if self.model is None or not self.model.rows:
            return
        model = self.closed_model()
        position = data.draw(st.sampled_from(sorted(model.rows)))
        if variable in OPTIONAL and variable not in model.rows[position].values:
            variable = "checksum"
        if position in model.damaged:  # a second flip could undo the first
            return
        current = self.path if self.path.exists() else self.part
        with h5py.File(current) as file:
            dataset = file[variable]
            if dataset.chunks is not None:
                chunk = dataset.id.get_chunk_info_by_coord((position, *[0] * (dataset.ndim - 1)))
                offset, n_bytes = chunk.byte_offset, chunk.size
            else:
                n_bytes = dataset[position].nbytes
                offset = dataset.id.get_offset() + position * n_bytes
        at = offset + data.draw(st.integers(0, n_bytes - 1))
        content = bytearray(current.read_bytes())
        content[at] ^= 1 << data.draw(st.integers(0, 7))
        current.write_bytes(content)
        with h5py.File(current) as file:
            try:
                row = model.rows[position]
                maps = dict(zip(("unperturbed", "perturbed"), row.maps, strict=True))
                expected = (maps | row.values | {"checksum": np.uint32(row.checksum)})[variable]
                if np.asarray(file[variable][position]).tobytes() == np.asarray(expected).tobytes():
                    return  # some bits of a compressed chunk mean nothing
            except OSError:
                pass
        model.damaged[position] = "image_checksum" if variable in ("image", "output") else "checksum"

    # Invariants

    @invariant()
    def folder_holds_one_file(self) -> None:
        begun = self.model is not None and (self.writer is None or self.model.optional is not None)
        hidden = len(list(self.path.parent.iterdir())) - len(self.names())
        assert hidden == self.left_over + int(self.writer is not None and not begun)
        assert len(self.names()) == int(begun)
        if self.writer is not None and begun:
            assert self.names() == ["a.h5.part"]

    @invariant()
    def writer_knows_what_is_missing(self) -> None:
        if self.writer is not None and self.model is not None:
            assert self.writer.missing.tolist() == self.model.missing

    @invariant()
    def file_holds_what_the_model_says(self) -> None:
        content = self.bytes_now()
        if content is None:
            return
        assert self.model is not None
        self.image.write_bytes(content)
        store = PairStore(self.image)
        model = self.model
        assert (len(store), store.shape, store.n_channels) == (model.n, model.shape, model.channels)
        of_the_file = ("format", "format_version", "checksum_metadata")
        assert ("checksum_metadata" in store.attrs) == self.path.exists()
        assert store.metadata_damaged == ""
        plain = {name: value for name, value in store.attrs.items() if name not in of_the_file}
        assert same(sorted(plain.items()), sorted(model.attrs.items()))
        assert np.flatnonzero(store.complete).tolist() == sorted(model.rows)
        unperturbed, perturbed, status = store.read_block(0, model.n)
        assert status == model.statuses()
        assert [(i, problem) for i, _, problem in verify(self.image)] == model.problems()
        for i, problem in enumerate(status):
            found = np.stack([unperturbed[i], perturbed[i]])
            if problem:
                assert np.isnan(found).all()
                continue
            row = model.rows[i]
            np.testing.assert_array_equal(found, self.reduced(row.maps), strict=True)
            assert (int(store.sample[i]), int(store.header.columns.checksum[i])) == (row.sample, row.checksum)
            for name in ("label", "prediction", "n_accepted", "name"):
                column = getattr(store, name)
                assert (None if column is None else column[i]) == row.values.get(name)
            assert store.not_attacked[i] == (row.values.get("n_accepted") == 0)
            if i in model.damaged:
                continue
            if store.header.columns.image_checksum is not None:
                assert int(store.header.columns.image_checksum[i]) == row.image_checksum
            for name, image in zip(("image", "image_perturbed"), store.read_image(i), strict=True):
                assert (image is None) == (name not in row.values)
                if image is not None:
                    np.testing.assert_array_equal(image, row.values[name], strict=True)
        self.check_fingerprint(store)

    def reduced(self, maps: NDArray[Any]) -> NDArray[Any]:
        assert self.model is not None
        if self.model.channels is None:
            return maps
        if self.model.channels == 1:
            return maps[:, 0]
        reduction = self.model.attrs.get("reduction")
        with np.errstate(invalid="ignore"):
            values = maps if reduction == "sum" else np.abs(maps)
            found: NDArray[Any] = values.max(1) if reduction == "abs_max" else values.sum(1)
        return found

    def check_fingerprint(self, store: PairStore) -> None:
        """The same content has the same fingerprint, other content another one."""
        with h5py.File(self.image) as file:
            columns = {
                name: file[name][()].tobytes()
                for name in ("sample", "complete", "checksum", "image_checksum", *OPTIONAL)
                if name in file and file[name].ndim == 1
            }
            maps = file["unperturbed"]
            content = (repr(sorted(store.attrs.items())), maps.shape[1:], maps.dtype.str, columns)
        known = self.fingerprints.setdefault(store.fingerprint, content)
        assert known == content
        same_content = [key for key, value in self.fingerprints.items() if value == content]
        assert same_content == [store.fingerprint]

    def check_xarray(self, path: Path) -> None:
        assert self.model is not None
        names = {"unperturbed", "perturbed", "complete", "checksum", *(self.model.optional or ())}
        if names & {"image", "image_perturbed", "output"}:
            names.add("image_checksum")
        with xr.open_dataset(path, engine="h5netcdf") as dataset:
            assert set(dataset.data_vars) == names
            assert dataset["unperturbed"].shape == (self.model.n, *self.model.stored_shape)
            for i, row in self.model.rows.items():
                if i in self.model.damaged:
                    continue
                np.testing.assert_array_equal(dataset["perturbed"][i].values, row.maps[1])
                if "name" in row.values:
                    assert dataset["name"].values[i] == row.values["name"]
                if "perturbation_l2" in row.values:
                    assert float(dataset["perturbation_l2"][i]) == row.values["perturbation_l2"]


TestPairFile = PairFile.TestCase
TestPairFile.settings = settings(max_examples=N_EXAMPLES, stateful_step_count=20)

TASK_PIXELS = 2 * 12  # two samples in a slice
METRICS = [["kendall", "topk_intersection(k=3)"], ["kendall"], ["topk_intersection(k=3)", "kendall"]]


def _has_schema(path: Path) -> bool:
    """Return whether Parquet's footer still lists the columns: a line inserted in front may leave it."""
    try:
        return bool(pa.parquet.read_schema(path).names)
    except UNREADABLE:
        return False


class ResumedRun(RuleBasedStateMachine):
    """Scores a growing and changing study, interrupted and damaged: the table is that of a fresh run."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.output = self.folder / "scores.parquet"
        self.part = self.folder / "scores.parquet.part"
        self.files: list[Path] = []
        self.metrics = METRICS[0]
        self.kept: int | None = 0  # slices that the next run need not score, where that is known

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    @property
    def n_slices(self) -> int:
        return sum((len(PairStore(path)) + 1) // 2 for path in self.files)

    @initialize()
    def begin(self) -> None:
        self.add_file(3, 0)

    @rule(n=st.integers(1, 5), seed=seeds)
    def add_file(self, n: int, seed: int) -> None:
        if len(self.files) < 4:
            self.files.append(self.folder / f"{len(self.files)}.h5")
            write_file(self.files[-1], n, (3, 4), seed=seed, attrs={"eps": seed % 3 / 8}, missing=[n // 2])

    @rule(data=st.data(), how=st.sampled_from(["made again", "bit", "touched", "moved"]))
    def change_file(self, data: st.DataObject, how: str) -> None:
        i = data.draw(st.integers(0, len(self.files) - 1))
        path = self.files[i]
        if how == "moved":  # the order of the files is that of the rows
            self.files.append(self.files.pop(i))
            return
        self.kept = None
        if how == "made again":
            path.unlink()
            write_file(path, data.draw(st.integers(1, 5)), (3, 4), seed=data.draw(seeds), labels=True)
        elif how == "bit":
            with h5py.File(path) as file:
                offset = file["perturbed"].id.get_offset()
                at = offset + data.draw(st.integers(0, file["perturbed"].id.get_storage_size() - 1))
            content = bytearray(path.read_bytes())
            content[at] ^= 0x40
            path.write_bytes(content)
        else:
            path.touch()

    @rule(metrics=st.sampled_from(METRICS))
    def take_metrics(self, metrics: list[str]) -> None:
        if metrics != self.metrics:
            self.metrics, self.kept = metrics, None

    @rule(data=st.data(), kind=st.sampled_from(["bit", "bit", "cut", "line"]), table=st.booleans())
    def damage(self, data: st.DataObject, kind: str, table: bool) -> None:
        if not table and not self.part.exists():
            self.take_metrics(METRICS[1] if self.metrics != METRICS[1] else METRICS[0])
            self.interrupt(self.n_slices - 1)
        path = self.output if table else self.part
        if not path.exists() or not path.stat().st_size:
            return
        content = bytearray(path.read_bytes())
        places = st.integers(0, 2**16)  # how long the table is depends on what its slices are called
        at = data.draw(places) % len(content)
        if kind == "bit":
            for place in data.draw(st.sets(places, min_size=1, max_size=9)):
                content[place % len(content)] ^= 1 << data.draw(st.integers(0, 3))
        elif kind == "cut":
            del content[at:]
        else:
            content[at:at] = b"\n"
        path.write_bytes(content)
        self.kept = None
        if table and content and not content.startswith(b"PAR1") and not _has_schema(path):
            with pytest.raises(FileExistsError, match="exists and is not a table of scores"):
                self.run(None)
            self.output.unlink()
        known = table or any(map(read_line, bytes(content).splitlines())) or may_be_journal(bytes(content))
        if not known:
            with pytest.raises(FileExistsError, match="is not the journal of a run"):
                self.run(None)
            self.part.unlink()
        if data.draw(st.booleans()):
            self.finish()

    def run(self, n: int | None) -> tuple[pd.DataFrame | None, int]:
        """Score until n more slices are kept; return the table, if there is one, and what was scored."""
        scored = 0

        def count(n_scored: int) -> None:
            nonlocal scored
            scored = n_scored
            if scored == n:
                raise KeyboardInterrupt

        options: dict[str, Any] = {"progress": Watcher(count), "task_pixels": TASK_PIXELS}
        try:
            found = evaluate(self.files, self.metrics, output=self.output, resume=True, **options)
        except KeyboardInterrupt:
            return None, scored
        return found, scored

    @rule(n=st.integers(0, 3))
    def interrupt(self, n: int) -> None:
        found, scored = self.run(n)
        if found is not None:
            self.check(found, scored)
        elif self.kept is not None:
            self.kept += scored

    @rule()
    def finish(self) -> None:
        found, scored = self.run(None)
        assert found is not None
        self.check(found, scored)

    def check(self, found: pd.DataFrame, scored: int) -> None:
        expected = lm.evaluate(self.files, self.metrics)
        pd.testing.assert_frame_equal(found, expected, check_exact=True)
        pd.testing.assert_frame_equal(lm.read_scores(self.output), expected, check_exact=True)
        assert not self.part.exists()
        if self.kept is not None:
            assert scored == self.n_slices - self.kept
        self.kept = self.n_slices

    @precondition(lambda self: self.kept == self.n_slices and not self.part.exists())
    @rule()
    def finish_again(self) -> None:
        found, scored = self.run(None)
        assert found is not None
        assert scored == 0

    @precondition(lambda self: self.part.exists())
    @rule()
    def begin_anew_is_refused(self) -> None:
        before = self.part.read_bytes()
        try:
            evaluate(self.files, self.metrics, output=self.output, task_pixels=TASK_PIXELS)
        except FileExistsError:
            assert self.part.read_bytes() == before
        else:  # not a line of it was sound
            self.kept = self.n_slices


TestResumedRun = ResumedRun.TestCase
TestResumedRun.settings = settings(max_examples=N_EXAMPLES, stateful_step_count=12)
