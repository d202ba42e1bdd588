"""What a page is told: of the files, of one sample, and of its scores and sets."""

import contextlib
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .. import __version__
from ..errors import FormatError
from ..figures import colours
from ..messages import printable, say, show_traceback
from ..pairfile.store import PairStore
from ..pairs.mappair import MapPair
from ..report.leading import contrasted, leading_score
from ..statuses import STATUSES
from ..tables.columns import parse_column
from ..tables.known import known_metrics
from ..tables.labels import column_title
from . import live
from .asking import Refusal
from .background import Background, usual_k
from .conditions import conditions, labels
from .files import Files
from .given import GivenScores
from .memory import Kept, Memory
from .pictures import pictures, shown_range, strongest_difference
from .reading import Reader, Request, Sample
from .rows import NOT_SCORED, Rows

# Maps with more pixels are not sent: browsers draw no canvas of that size.
MOST_PIXELS = 2**24
_BAD = {
    "incomplete": "this sample was never finished in its file",
    "checksum": "the maps of this sample do not match their checksum: the file is damaged or has changed",
    "images": "what is stored beside the maps of this sample does not match its checksum, so its images are "
    "not shown: copy the file again, or make it anew",
}


class Views:
    """The files of a page, their scores, and the pairs shown last.

    Use it in a ``with`` statement, which opens the files and ends what runs in the background.

    Parameters
    ----------
    paths
        Pair files.
    scores
        A table of scores; None scores in the background.

    Raises
    ------
    ValueError
        If the table of scores belongs to none of the files.
    """

    def __init__(self, paths: Sequence[Path], scores: pd.DataFrame | None = None) -> None:
        self.given = None if scores is None else GivenScores(scores, paths)
        self._facts = known_metrics({} if scores is None else scores.attrs)
        self.rows = Rows(len(paths))
        self.files = Files(paths, self._opened)
        self.background = None if scores is not None else Background(self.files, self.rows)
        self.is_ready = False  # whether kernels are compiled
        self._notes: dict[int, str] = {}
        self._reader = Reader()
        self._memory = Memory(self._read)
        self._compiler = threading.Thread(target=self._compile, daemon=True)
        self._running = contextlib.ExitStack()

    def __enter__(self) -> "Views":
        self._running.enter_context(self._reader)
        self._running.callback(self.files.stop)
        self.files.start()
        if self.background is not None:
            self._running.callback(self.background.stop)
            self.background.start()
        self._compiler.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def start(self) -> dict[str, Any]:
        """Return what stays the same."""
        return {
            "version": __version__,
            "windowed": live.described(live.windowed_metrics()),
            "plain": live.described(live.plain_metrics()),
            "layers": live.LAYERS,
            "colours": {name.lower(): value for name, value in vars(colours).items() if name.isupper()},
            "statuses": {token: status.meaning for token, status in STATUSES.items()},
            "not_scored": NOT_SCORED,
        }

    def state(self) -> dict[str, Any]:
        """Return what changes while files are opened and scored."""
        columns = [parse_column(text) for text in self.rows.columns()]
        first, pair = leading_score(columns), contrasted(columns, self._facts)
        better = {
            c.text: self._facts[c.name].higher_is_better if c.name in self._facts else None for c in columns
        }
        scoring = self.background
        return {
            "opened": self.files.n_tried,
            "files": [self._file(number, label) for number, label in enumerate(labels(self.files.entries))],
            "compiled": self.is_ready,
            "scored": None if scoring is None else [scoring.n_scored, scoring.n_samples],
            "done": self.files.is_done and self.is_ready and (scoring is None or scoring.is_done),
            "columns": [
                {"text": c.text, "title": column_title(c), "higher_is_better": better[c.text]}
                for c in columns
            ],
            "leading": first.text if first else "",
            "contrasted": [c.text for c in pair] if pair else [],
            "statuses": self.rows.statuses(),
            "version": self.rows.version,
        }

    def sample(self, file: int, position: int) -> dict[str, Any]:
        """Return what is known of a sample, and how to draw it."""
        store = self.store(file)
        kept = self._kept(file, position)
        sample, pair = kept.sample, kept.pair
        facts: dict[str, Any] = {"sample": int(store.sample[position])}
        if store.name is not None:
            facts["name"] = printable(store.name[position])
        for name in ("label", "prediction", "prediction_perturbed", "n_accepted", "best_step"):
            values = getattr(store, name)
            if values is not None:
                facts[name.replace("_", " ")] = int(values[position])
        return {
            "file": file,
            "position": position,
            "facts": facts,
            "flags": [
                token for token in ("not_attacked", "label_changed") if getattr(store, token)[position]
            ],
            "height": store.shape[0],
            "width": store.shape[1],
            "dtype": str(pair.unperturbed.dtype),
            "range": shown_range(pair),
            "difference": strongest_difference(pair),
            "images": [None if image is None else image.shape for image in pictures(sample)],
            "notes": [_BAD["images"]] if sample.images_damaged else [],
            "twins": self._twins(file, position),
            "python": f"pair = lm.PairStore({str(self.files.entries[file].path)!r})[{position}]",
        }

    def maps(self, file: int, position: int) -> bytes:
        """Return both maps as little-endian floats of the type of the file."""
        pair = self._kept(file, position).pair
        return b"".join(
            values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
            for values in (pair.unperturbed, pair.perturbed)
        )

    def images(self, file: int, position: int) -> bytes:
        """Return the images that are stored, one after the other, a byte for each pixel or colour of it."""
        found = pictures(self._kept(file, position).sample)
        return b"".join(picture.tobytes() for picture in found if picture is not None)

    def scores(self, file: int, position: int, k: int, w: int) -> dict[str, Any]:
        """Return the scores that depend on k or w."""
        kept, pair, w = self._pair(file, position, k, w)
        return live.windowed_scores(kept, pair, k, w) | {"python": self._python(k, w)}

    def plain_scores(self, file: int, position: int) -> dict[str, Any]:
        """Return the scores that depend on neither."""
        return live.plain_scores(self._kept(file, position))

    def layers(self, file: int, position: int, k: int, w: int) -> bytes:
        """Return the sets of a pair as `live.LAYERS` lists them."""
        _, pair, w = self._pair(file, position, k, w)
        return live.layers(pair, k, w)

    def store(self, file: int) -> PairStore:
        """Return a file, or refuse with what is wrong with it."""
        entry = self.files.entries[file]
        if entry.store is None:
            raise Refusal(409, entry.problem or f"{entry.name} is not opened yet: wait a moment")
        return entry.store

    def _python(self, k: int, w: int) -> str:
        return f"{{text: lm.parse_metric(text)(pair) for text in {live.texts(k, w)!r}}}"

    def _opened(self, number: int) -> None:
        entry = self.files.entries[number]
        assert entry.store is not None
        words = " ".join([entry.name, *conditions(entry.store).values()])
        self.rows.add_file(number, entry.store, words)
        if self.given is not None:
            found = self.given.of(number, entry.store)
            if isinstance(found, str):
                self._notes[number] = entry.sentence(ValueError(found))
            else:
                self.rows.add_scores(number, *found)

    def _file(self, number: int, label: str) -> dict[str, Any]:
        entry = self.files.entries[number]
        notes = [entry.problem, self._notes.get(number, "")]
        if self.background is not None:
            notes.append(self.background.problems.get(number, ""))
        found: dict[str, Any] = {"number": number, "name": entry.name, "label": label}
        if entry.store is not None:
            if entry.store.metadata_damaged:
                notes.append(entry.sentence(ValueError(entry.store.metadata_damaged)))
            found |= {
                "samples": len(entry.store),
                "shape": entry.store.shape,
                "k": usual_k(entry.store.shape),
                "conditions": list(conditions(entry.store).values()),
                "named": entry.store.name is not None,
            }
        return found | {"notes": [note for note in notes if note], "is_bad": bool(entry.problem)}

    def _read(self, file: int, position: int) -> Sample:
        store = self.store(file)
        entry = self.files.entries[file]
        height, width = store.shape
        if height * width > MOST_PIXELS:
            raise Refusal(
                409,
                f"{entry.name}: maps of {height}x{width} are too large to show; score can still score them",
            )
        try:
            sample = self._reader(Request(entry.path, store.fingerprint, position))
        except (FormatError, OSError) as error:
            raise Refusal(409, entry.sentence(error)) from error
        if sample.problem:
            raise Refusal(409, f"{entry.name}, position {position}: {_BAD[sample.problem]}")
        return sample

    def _kept(self, file: int, position: int) -> Kept:
        self._check(file, position)
        return self._memory.get(file, position)

    def _pair(self, file: int, position: int, k: int, w: int) -> tuple[Kept, MapPair, int]:
        """Return a sample, its pair, and w, cut to the longer side: windows beyond it all hold the map."""
        self._check(file, position)
        height, width = self.store(file).shape
        if not 1 <= k <= height * width:
            raise Refusal(400, f"k must be from 1 to {height * width}, the pixels of these maps, got {k}")
        w = min(w, max(height, width))
        return *self._memory.pair(file, position, k, w), w

    def _check(self, file: int, position: int) -> None:
        n = len(self.store(file))
        if position >= n:
            entry = self.files.entries[file]
            raise Refusal(404, f"{entry.name} has {n} samples; there is none at position {position}")
        if self.background is not None:
            self.background.preferred = file

    def _twins(self, file: int, position: int) -> list[dict[str, Any]]:
        """Return the other files that hold the same source sample, and where."""
        own = self.store(file)
        found = []
        for number, entry in enumerate(self.files.entries):
            place = None if entry.store is None or number == file else _place_of(own, position, entry.store)
            if place is not None:
                found.append({"file": number, "position": place})
        return found

    def _compile(self) -> None:
        """Call every kernel once for float32 and float64, which compiles it unless it is cached."""
        ramp = np.arange(64.0).reshape(8, 8) - 9
        try:
            for maps in (ramp.astype(np.float32), ramp):
                kept = Kept(Sample(maps, maps[::-1].copy(), "", None, None))
                live.windowed_scores(kept, kept.pair, 5, 1)
                live.plain_scores(kept)
                live.layers(kept.pair, 5, 1)
        except Exception as error:  # a page that cannot compile says so when a pair is shown
            show_traceback(error)
            say(f"lensmetrics: the kernels do not compile: {error}")
        self.is_ready = True


def _place_of(own: PairStore, position: int, other: PairStore) -> int | None:
    """Return where another file holds the source sample: dataset and name, else dataset and number."""
    if own.attrs.get("dataset") != other.attrs.get("dataset") or own.shape != other.shape:
        return None
    if (own.name is None) != (other.name is None) or not own.complete[position]:
        return None
    if own.name is None or other.name is None:
        same = other.sample == own.sample[position]
    else:
        same = other.name == own.name[position]
    places = np.flatnonzero(same & other.complete)
    return int(places[0]) if len(places) else None
