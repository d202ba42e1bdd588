"""Pair files as the generators write, continue and recognize them."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

import lensmetrics as lm

from .disk import check_name, make_folder, part_path
from .identity import refuse_other

# Columns that change with the perturbed image, and by how much of their size they may differ by rounding.
_OF_IMAGE, _SAME_IMAGE = ("perturbation_l2", "output_perturbed"), 0.01
# Columns that older releases did not write; a file that they left unfinished is finished without them.
_LATER = ("n_accepted", "best_step", "output", "output_perturbed", "target")


def check_targets(paths: Collection[Path]) -> None:
    """Refuse, before any work, paths at which no file can be written, or that are all written already.

    Raises
    ------
    OSError
        If there is nothing to write, or a path is a directory, too long, or in a folder that is a file.
    """
    for path in paths:
        check_name(path)
    if all(path.exists() for path in paths):
        (first, *others) = paths
        more = f", and so do the {len(others)} files beside it" if len(others) > 1 else ""
        more = f", and so does {others[0]}" if len(others) == 1 else more
        raise FileExistsError(f"{first} exists already{more}: delete it, or choose another --out")


def stored_settings(path: Path) -> dict[str, Any]:
    """Return the attributes of a pair file with the settings that show in its size."""
    store = lm.PairStore(path)
    stored = {**store.attrs, "samples": len(store), "shape": list(store.shape)}
    if "acceptance" in stored:  # older releases stored it as it was typed
        stored["acceptance"] = str(lm.parse_metric(str(stored["acceptance"])))
    return stored


def stored_images(path: Path) -> str | None:
    """Return the value of --store-images with which a finished pair file was made."""
    image, image_perturbed = lm.PairStore(path).read_image(0)
    if image_perturbed is not None:
        return "all"
    return "unperturbed" if image is not None else None


@dataclass(frozen=True)
class Unfinished:
    """A pair file that is being written.

    Attributes
    ----------
    writer
        Writes it.
    without
        Columns that it was begun without, by an older release.
    """

    writer: lm.PairWriter
    without: frozenset[str] = frozenset()

    @property
    def missing(self) -> NDArray[np.int64]:
        """Positions that are not written yet, in ascending order."""
        return self.writer.missing

    def write(self, positions: NDArray[np.int64], columns: Mapping[str, NDArray[Any]]) -> None:
        """Write those of a batch at `positions` that are missing, in as few calls as their gaps allow."""
        wanted = np.isin(positions, self.missing)
        positions = positions[wanted]
        values = {name: column[wanted] for name, column in columns.items() if name not in self.without}
        for rows in _runs(positions):
            place = slice(int(positions[rows.start]), int(positions[rows.stop - 1]) + 1)
            self.writer.write(place, **{name: column[rows] for name, column in values.items()})


@contextmanager
def unfinished(
    path: Path,
    chosen: NDArray[np.int64],
    shape: tuple[int, int],
    attrs: Mapping[str, Any],
    compared: Mapping[str, Any],
    defaults: Mapping[str, Any],
) -> Iterator[Unfinished]:
    """Open a new file, or the unfinished one that the same settings left behind.

    Parameters
    ----------
    path
        The name of the finished file.
    chosen, shape
        The sample of each position, and the height and width of the maps.
    attrs
        The attributes of a new file.
    compared
        Those of them that must be the same in an unfinished file.
    defaults
        The values of settings that an unfinished file does not mention.

    Raises
    ------
    ValueError
        If the unfinished file has other settings or other samples.
    """
    part = part_path(path)
    if not part.exists():
        make_folder(path)
        with lm.PairWriter(path, n_samples=len(chosen), shape=shape, attrs=attrs, dtype="float32") as writer:
            yield Unfinished(writer)
        return
    wanted = {**compared, "samples": len(chosen), "shape": list(shape)}
    remedy = f"use the same settings to continue, or delete {part} to start over"
    refuse_other(part, stored_settings(part), wanted, defaults, remedy=remedy)
    refuse_other_samples(part, chosen, remedy=remedy)
    store = lm.PairStore(part)
    with h5py.File(part) as file:
        without = frozenset(_LATER) - set(file)
    # Attributes of its origin, such as the command, stay as they are.
    with lm.PairWriter.resume(path, store.attrs) as writer:
        yield Unfinished(writer, without)


def refuse_other_samples(path: Path, chosen: NDArray[np.int64], *, remedy: str) -> None:
    """Refuse a file that holds other samples than those `chosen` for its positions.

    Raises
    ------
    ValueError
        If it does.
    """
    store = lm.PairStore(path)
    if (store.sample[store.complete] != chosen[store.complete]).any():
        raise ValueError(f"{path} has other samples than --data now gives; {remedy}")


@dataclass(frozen=True)
class FoundImages:
    """What a file says of its perturbed images, by which others are recognized.

    Attributes
    ----------
    path
        The file, finished or not.
    complete
        Whether each sample is written.
    columns
        Numbers of each sample that change with its image.
    """

    path: Path
    complete: NDArray[np.bool_]
    columns: Mapping[str, NDArray[Any]]

    def check(self, positions: NDArray[np.int64], columns: Mapping[str, NDArray[Any]]) -> None:
        """Refuse images that are not those of the file: maps in two files are to be of the same ones.

        Raises
        ------
        ValueError
            If those of a sample differ by more than rounding.
        """
        known = self.complete[positions]
        for name, stored in self.columns.items():
            there, here = stored[positions][known], columns[name][known]
            if not len(there):
                return
            scale = np.abs(there).reshape(len(there), -1).max(1)
            differs = np.abs(there - here).reshape(len(there), -1).max(1) > _SAME_IMAGE * scale
            if differs.any():
                sample = columns["sample"][known][differs][0]
                raise ValueError(
                    f"the attack does not find the image of sample {sample} that is in {self.path} again, so "
                    "maps in two files would be of two images: rounding differs, with the device, the number "
                    "of threads or --batch-size; use those of that run, or move its files away to make all"
                )


def found_images(path: Path) -> FoundImages | None:
    """Return what a file that exists, finished or not, says of its perturbed images."""
    there = next((one for one in (path, part_path(path)) if one.exists()), None)
    if there is None:
        return None
    complete = lm.PairStore(there).complete
    with h5py.File(there) as file:
        names = [name for name in _OF_IMAGE if name in file]
        return FoundImages(there, complete, {name: file[name][:] for name in names})


def outcome(path: Path) -> str:
    """Say how many samples a finished file has, and for how many of them the attack did not do its work."""
    store = lm.PairStore(path)
    norm, eps = store.attrs["eps_norm"], store.attrs["eps"]
    with h5py.File(path) as file:  # xarray takes a second to import
        size = file[f"perturbation_{norm}"][:]
    unchanged = int(((size == 0) & ~store.not_attacked).sum())
    words = [f"{path}: {len(store)} sample{'s' * (len(store) != 1)}"]
    if n := int(store.not_attacked.sum()):
        words.append(f"{n} not attacked (no perturbed image was accepted)")
    if unchanged:
        words.append(f"{unchanged} unchanged (images kept the label, but none was better for the attack)")
    if n := int(store.label_changed.sum()):
        words.append(f"{n} with another label after the attack")
    attacked = size[~store.not_attacked]
    if len(attacked) and attacked.mean() < 0.999 * eps:  # never for target_map, whose eps is NaN
        words.append(f"mean perturbation_{norm} {attacked.mean():.3g} at eps {eps:.3g}")
    return ", ".join(words)


def _runs(positions: NDArray[np.int64]) -> Iterator[slice]:
    """Yield slices of `positions` that rise by one: each is a slice of the file."""
    if not len(positions):
        return
    ends = [*np.flatnonzero(np.diff(positions) != 1).tolist(), len(positions) - 1]
    start = 0
    for end in ends:
        yield slice(start, end + 1)
        start = end + 1
