"""Attribution databases of ViRelAy and CoRelAy, of which two become a pair file."""

import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from lensmetrics.errors import FormatError
from lensmetrics.importers import import_maps
from lensmetrics.pairfile.store import PairStore
from lensmetrics.pairfile.verification import verify
from tests.importers.test_importers import MAPS, hdf5, refused, some_maps, stored


def one_hot(classes: Any, n_classes: int = 4) -> NDArray[np.float32]:
    rows: NDArray[np.float32] = np.eye(n_classes, dtype=np.float32)[classes]
    return rows


def attributions(path: Path, maps: Any, **others: Any) -> Path:
    """A database as the Database Specification of ViRelAy describes it."""
    return hdf5(path, attribution=maps, **others)


INDEX = np.array([2, 7, 4], np.uint32)
ABC, ABD = (dict(zip(names, MAPS, strict=True)) for names in ("abc", "abd"))
LOGITS = np.array([[0, 1, 0.5, 0], [0.5, 0.5, 0, 0], [1, 0, 2, 9]], np.float32)


@pytest.mark.parametrize("layout", ["datasets", "groups"])
@pytest.mark.parametrize("labels", ["numbers", "column", "one hot", "logit", "bool"])
def test_attribution_databases_are_matched_by_index(tmp_path: Path, layout: str, labels: str) -> None:
    maps = some_maps(2, 3, 3, 6, 5)
    classes = np.array([1, 0, 3])
    label = {
        "numbers": classes.astype(np.uint16),
        "column": classes.astype(np.float32)[:, None],
        "one hot": one_hot(classes),
        "logit": one_hot(classes) * np.float32(-2.5),
        "bool": one_hot(classes) != 0,
    }[labels]
    back = [2, 0, 1]

    def arranged(values: Any, names: str) -> Any:
        return dict(zip(names, values, strict=True)) if layout == "groups" else values

    first = attributions(
        tmp_path / "clean.attribution.h5",
        arranged(maps[0], "abc"),
        index=INDEX,
        label=arranged(label, "abc"),
        prediction=arranged(LOGITS, "abc"),
    )
    second = attributions(
        tmp_path / "adv.attribution.h5",
        arranged(maps[1][back], "cde"),
        index=INDEX[back],
        label=arranged(label[back], "cde"),
        prediction=arranged(LOGITS[[1, 2, 0]], "cde"),
    )
    out = tmp_path / "out.h5"
    import_maps(first, second, out, attrs={"attack": "topk"})
    assert verify(out) == []
    store = PairStore(out)
    np.testing.assert_array_equal(stored(out), maps)
    assert store.attrs["attack"] == "topk"
    assert store.n_channels == 3
    assert store.sample.tolist() == [2, 7, 4]
    assert store.label is not None
    assert store.label.tolist() == [1, 0, 3]
    assert store.prediction is not None
    assert store.prediction.tolist() == [1, 0, 3]
    assert store.prediction_perturbed is not None
    assert store.prediction_perturbed.tolist() == [3, 1, 0]


def test_attributions_without_index_count_from_0(tmp_path: Path) -> None:
    maps = some_maps(2, 3, 1, 6, 5)
    maps = maps[:, :, 0]
    first = attributions(tmp_path / "a.h5", maps[0][:, None], label=np.array([1, 0, 3], np.uint16))
    second = attributions(tmp_path / "b.h5", maps[1][[1, 2, 0], None], index=np.array([1, 2, 0]))
    import_maps(first, second, tmp_path / "out.h5")
    np.testing.assert_array_equal(stored(tmp_path / "out.h5"), maps)
    store = PairStore(tmp_path / "out.h5")
    assert store.sample.tolist() == [0, 1, 2]
    assert store.label is not None
    assert store.label.tolist() == [1, 0, 3]
    assert store.prediction is None


def test_group_labels_may_repeat_all_samples(tmp_path: Path) -> None:
    """The specification gives members of a label group the shape (samples, classes)."""
    maps = some_maps(3, 3, 6, 5)
    groups = dict(zip("abc", maps, strict=True))
    a = attributions(tmp_path / "a.h5", groups, label=dict.fromkeys("abc", one_hot([2, 0, 1])))
    import_maps(a, shutil.copy(a, tmp_path / "b.h5"), tmp_path / "out.h5")
    label = PairStore(tmp_path / "out.h5").label
    assert label is not None
    assert label.tolist() == [2, 0, 1]


def test_many_logits_are_read_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lensmetrics.importers.virelay.BLOCK_BYTES", 200)
    classes = np.random.default_rng(0).integers(0, 10, 23)
    a = attributions(tmp_path / "a.h5", some_maps(23, 2, 2), label=one_hot(classes, 10))
    import_maps(a, shutil.copy(a, tmp_path / "b.h5"), tmp_path / "out.h5")
    label = PairStore(tmp_path / "out.h5").label
    assert label is not None
    np.testing.assert_array_equal(label, classes)


def test_named_maps_and_given_labels_replace_those_of_a_database(tmp_path: Path) -> None:
    multi = np.ones((3, 4), bool)
    a = attributions(tmp_path / "a.h5", some_maps(3, 1, 6, 5), index=INDEX, label=multi)
    b = shutil.copy(a, tmp_path / "b.h5")
    import_maps(f"{a}:attribution", f"{b}:attribution", tmp_path / "named.h5")
    store = PairStore(tmp_path / "named.h5")
    assert store.label is None
    assert store.sample.tolist() == [2, 7, 4]
    np.save(tmp_path / "labels.npy", [5, 6, 7])
    import_maps(a, b, tmp_path / "given.h5", labels=tmp_path / "labels.npy")
    store = PairStore(tmp_path / "given.h5")
    assert store.sample.tolist() == [2, 7, 4]
    assert store.label is not None
    assert store.label.tolist() == [5, 6, 7]


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ({"index": INDEX}, {"index": [2, 7, 5]}, r"a\.h5 has 3 samples and .*b\.h5 has 3, of which 2 are in"),
        ({"index": INDEX}, {}, r"a\.h5 has 3 samples and .*b\.h5 has 3, of which 1 are in both by "),
        ({}, {"attribution": MAPS[:2]}, r"a\.h5, dataset 'attribution', has maps \(3, 4, 5\) but"),
        ({"index": [1, 2, 1]}, {}, r"a\.h5, dataset 'index', holds 1 twice; a pair file holds each"),
        ({"index": [1, 2]}, {}, r"'index', is \(2,\); sample numbers must be 3 integers"),
        ({"index": [0.5, 1, 2]}, {}, r"a\.h5, dataset 'index', holds 0\.5 in row 0; sample numbers must be"),
        ({"index": np.array([2**63, 1, 2], "u8")}, {}, r"'index', holds 9223372036854775808 in row 0;"),
        ({"index": h5py.SoftLink("/label")}, {}, r"a\.h5: 'index' in 'index' is a link"),
        ({"attribution": h5py.ExternalLink("b.h5", "/attribution")}, {}, r"'attribution' in .* is a link"),
        ({"index": h5py.SoftLink("/gone")}, {}, r"a\.h5: 'index' in 'index' is a link"),
        ({"label": np.ones((3, 4), bool)}, {}, r"'label', must have exactly one .* row 0 does not; give"),
        ({"label": np.diag([1, 1, 0])}, {}, r"'label', must have exactly one .* row 2 does not"),
        ({"label": [0.5, 1, 2]}, {}, r"'label', must hold integers >= 0, but row 0 does not; give"),
        ({"label": [0, 1]}, {}, r"'label', is \(2,\); it must be \(3,\) or \(3, classes\)"),
        ({"label": [0, 1, 2]}, {"label": [0, 1, 3]}, r"have different labels for 1 of 3 .*--labels"),
        ({"prediction": np.zeros((3, 1))}, {}, r"'prediction', is \(3, 1\); one logit does not tell the"),
        ({"prediction": [[0, np.nan]] * 3}, {}, r"'prediction', must hold finite logits, .* does not; name"),
        ({"attribution": ABC}, {"attribution": ABD}, r"b\.h5, group 'attribution', has 3, of which"),
        ({"attribution": ABC, "label": {"a": 1, "b": 2}}, {},
         r"'attribution' of .*a\.h5 and 'label' have 3 and 2 samples by their names, of which 2 are in both"),
        ({"attribution": np.zeros((3, 5, 4))}, {}, r"'attribution', has maps \(3, 5, 4\) but .*b\.h5"),
    ],
)  # fmt: skip
def test_attribution_databases_that_are_refused(
    tmp_path: Path, first: Any, second: Any, message: str
) -> None:
    a, b = (
        hdf5(tmp_path / name, **{"attribution": MAPS, **contents})
        for name, contents in (("a.h5", first), ("b.h5", second))
    )
    refused(tmp_path, a, b, message, FormatError)


@pytest.mark.parametrize("options", [{"samples": True}, {"method": 1}])
@pytest.mark.parametrize("name", ["", ":attribution"])
def test_samples_and_method_are_refused_for_databases(tmp_path: Path, options: Any, name: str) -> None:
    a = attributions(tmp_path / "a.h5", MAPS)
    b = attributions(tmp_path / "b.h5", MAPS, index=np.arange(3))
    np.save(tmp_path / "x.npy", [4, 5, 6])
    if "samples" in options:
        options = {"samples": tmp_path / "x.npy"}
    message = "attribution databases, which identify their samples by 'index' .*: leave out samples and"
    refused(tmp_path, f"{a}{name}", f"{b}{name}", message, ValueError, **options)


def test_databases_without_index_take_sample_numbers(tmp_path: Path) -> None:
    a, b = (attributions(tmp_path / name, MAPS) for name in ("a.h5", "b.h5"))
    np.save(tmp_path / "x.npy", [4, 5, 6])
    import_maps(a, b, tmp_path / "out.h5", samples=tmp_path / "x.npy")
    assert PairStore(tmp_path / "out.h5").sample.tolist() == [4, 5, 6]
