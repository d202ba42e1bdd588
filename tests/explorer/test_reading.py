"""Samples are read as they are stored, or it is said why not."""

from pathlib import Path

import numpy as np
import pytest

import lensmetrics as lm
from lensmetrics.explorer.files import Entry
from lensmetrics.explorer.reading import Request, read_sample
from tests.pairfiles import flip_byte, write_file

IMAGES = [[[float(i)] * 7] * 6 for i in range(6)]


def test_a_damaged_image_is_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    write_file(path, image=IMAGES, missing=[4])
    flip_byte(path, "image", 2 * 6 * 7 * 4)
    fingerprint = lm.PairStore(path).fingerprint
    sound, damaged, missing = (read_sample(Request(path, fingerprint, i), None) for i in (1, 2, 4))
    assert sound.image is not None
    assert np.array_equal(sound.image, IMAGES[1])
    assert not sound.images_damaged
    assert damaged.image is None
    assert (damaged.problem, damaged.images_damaged) == ("", True)
    assert (missing.image, missing.images_damaged) == (None, False)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (FileNotFoundError(2, "No such file or directory", "/x/a.h5"), "a.h5 is not there any more: put it"),
        (PermissionError(13, "Permission denied", "/x/a.h5"), "a.h5 cannot be read: Permission denied"),
        (lm.FormatError("/x/a.h5 is empty"), "a.h5 is empty"),
    ],
)
def test_sentences_name_the_file_alone(error: Exception, sentence: str) -> None:
    assert Entry(Path("/x/a.h5"), "a.h5").sentence(error).startswith(sentence)
