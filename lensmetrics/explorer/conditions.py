"""What was done in each file: the texts of its attributes, and a label that tells it from the others."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..messages import printable
from ..pairfile.store import PairStore
from ..tables.columns import CONDITIONS, PROVENANCE, one_kind
from ..tables.differing import numbered, splitting
from ..tables.labels import labelled
from .files import Entry


def conditions(store: PairStore) -> dict[str, str]:
    """Return the attributes that say what was done, not how the file was made, as tables show them."""
    attrs = {name: one_kind([value])[0] for name, value in store.attrs.items() if name not in PROVENANCE}
    order = [name for name in CONDITIONS if name in attrs] + [n for n in attrs if n not in CONDITIONS]
    return {printable(name): labelled(name, attrs[name]) for name in order}


def labels(entries: Sequence[Entry]) -> list[str]:
    """Return a label for each file: as many of its conditions as tell the files apart, else its name too."""
    found = [{} if entry.store is None else conditions(entry.store) for entry in entries]
    opened = [texts for texts in found if texts]
    names = [*CONDITIONS, *(name for texts in opened for name in texts)]
    columns = [pd.Series([texts.get(name, "") for texts in opened]) for name in dict.fromkeys(names)]
    kept = [list(dict.fromkeys(names))[i] for i in splitting([numbered(column) for column in columns])]
    texts = [", ".join(own[name] for name in kept if name in own) for own in found]
    counts = dict(zip(*np.unique(texts, return_counts=True), strict=True)) if texts else {}
    return [
        (f"{text} ({entry.name})" if counts[text] > 1 else text) if text else entry.name
        for text, entry in zip(texts, entries, strict=True)
    ]
