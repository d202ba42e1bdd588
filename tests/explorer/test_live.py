"""The numbers and sets of a pair are those of the library, whichever were asked for before."""

import numpy as np
import pytest

import lensmetrics as lm
from lensmetrics.explorer import live
from lensmetrics.explorer.memory import Kept, Memory
from lensmetrics.explorer.reading import Sample
from tests.pairfiles import maps_of

TOKENS = {"nan_map", "constant_map", "identical", "tied_cut", "few_diverse", "saturated", "unsigned"}


def sample(unperturbed: object, perturbed: object) -> Sample:
    return Sample(np.asarray(unperturbed), np.asarray(perturbed), "", None, None)


def kinds() -> list[Sample]:
    """Maps with ties, of one value, with signs, equal, and not finite."""
    rng = np.random.default_rng(5)
    ties = [sample(*rng.integers(0, n, (2, 4, 5)).astype(float)) for n in (2, 3, 4, 9)]
    signed = [sample(*rng.integers(-n, n + 1, (2, 5, 4)).astype(np.float32)) for n in (1, 2, 5)]
    u, p = maps_of(1, 5, 6)
    odd = np.where(u[0] > 1, np.nan, u[0])
    waves = np.array([[1.0, -1.0] * 3] * 2)
    return [
        *ties,
        *signed,
        sample(u[0], p[0]),
        sample(u[0], u[0]),
        sample(np.ones((3, 4)), np.arange(12.0).reshape(3, 4)),
        sample(odd, p[0]),
        sample(waves, -waves),
    ]


@pytest.mark.parametrize("kind", range(len(kinds())))
def test_scores_and_status_do_not_depend_on_what_was_asked_before(kind: int) -> None:
    found = kinds()[kind]
    n = found.unperturbed.size
    kept = Kept(found)
    for k, w in ((n, 5), (1, 0), (3, 1), (5, 2), (n // 2, 0), (3, 1)):
        answer = live.windowed_scores(kept, kept.asked(k, w, 10**9), k, w)
        fresh = lm.MapPair(found.unperturbed, found.perturbed)
        for name, score in answer["scores"].items():
            (text,) = [text for text in live.texts(k, w) if text.partition("(")[0] == name]
            value = lm.parse_metric(text)(fresh)
            assert score["value"] == (None if np.isnan(value) else value), (name, k, w)
        assert set(answer["status"]) == set(fresh.status.split(";")) & TOKENS, (k, w)


def test_chance_stands_beside_the_scores_that_have_one() -> None:
    kept = Kept(kinds()[7])
    scores = live.windowed_scores(kept, kept.pair, 4, 1)["scores"]
    assert scores["lens_recall"]["chance"] == f"{lm.lens_recall_chance(kept.pair, k=4, w=1):.3f}"
    assert scores["lens_precision"]["chance"] == f"{lm.lens_precision_chance(kept.pair, k=4, w=1):.3f}"
    assert scores["topk_intersection"]["chance"] == f"{4 / 30:.3f}"
    assert scores["lens_recall_adjusted"]["chance"] == "0.000"
    assert "chance" not in scores["lens_distance"]
    assert scores["n_diverse"]["text"] == str(int(lm.get_metric("n_diverse", k=4, w=1)(kept.pair)))


def test_scores_of_images_are_those_of_the_images() -> None:
    images = np.random.default_rng(3).random((2, 3, 5, 6))
    found = kinds()[7]._replace(image=images[0], image_perturbed=images[1])
    fresh = lm.MapPair(found.unperturbed, found.perturbed, image=images[0], image_perturbed=images[1])
    expected = lm.get_metric("image_mse")(fresh)
    kept = Kept(found)
    assert live.plain_scores(kept)["scores"]["image_mse"]["value"] == expected > 0
    kept.asked(3, 1, 0)  # too little memory to keep the pair
    assert live.plain_scores(kept)["scores"]["image_mse"]["value"] == expected


def test_layers_are_the_sets_of_the_library() -> None:
    kept = Kept(kinds()[7])
    k, w = 6, 1
    n_bytes = -(-30 // 8)
    body = np.frombuffer(live.layers(kept.pair, k, w), np.uint8).reshape(len(live.LAYERS), n_bytes)
    masks = np.unpackbits(body, axis=1, bitorder="little")[:, :30].astype(bool)
    found = dict(zip(live.LAYERS, masks.reshape(-1, 5, 6), strict=True))
    for side, which in (("u", "unperturbed"), ("p", "perturbed")):
        assert np.array_equal(found[f"top_{side}"], kept.pair.top_k(which, k))  # type: ignore[arg-type]
        near = kept.pair.neighbourhood(which, k, w)  # type: ignore[arg-type]
        assert np.array_equal(found[f"near_{side}"], near)
        diverse = kept.pair.diverse_top_k(which, k, w)  # type: ignore[arg-type]
        assert np.array_equal(np.flatnonzero(found[f"diverse_{side}"]), np.sort(diverse))


def test_maps_without_an_order_have_no_sets() -> None:
    for kind in (9, 10):
        assert live.layers(Kept(kinds()[kind]).pair, 2, 1) == b""


def test_a_metric_of_the_user_that_fails_says_so(own_metrics: None) -> None:
    @lm.register(bounds=(0, 1), best=1)
    def breaks(pair: lm.MapPair, *, k: int) -> float:
        raise RuntimeError("no luck")

    kept = Kept(kinds()[0])
    shown = live.windowed_scores(kept, kept.pair, 2, 1)["scores"]["breaks"]
    assert (shown["value"], shown["problem"]) == (None, "RuntimeError: no luck")


def test_memory_is_bounded_whatever_is_looked_at() -> None:
    n_read = 0

    def read(file: int, position: int) -> Sample:
        nonlocal n_read
        n_read += 1
        return sample(*maps_of(20, 20, seed=position))

    limit = 5 * 10**5
    memory = Memory(read, limit)
    for position in range(40):
        kept = memory.get(0, position)
        assert memory.get(0, position) is kept
    assert n_read == 40
    assert 2 < len(memory) < 30
    kept = memory.get(0, 39)
    for k in range(1, 200):
        for w in range(6):
            memory.pair(0, 39, k, w)
            assert kept.nbytes <= limit // 4 + 40 * 400
    assert memory.get(0, 39) is kept
    memory.get(0, 0)
    assert n_read == 41
