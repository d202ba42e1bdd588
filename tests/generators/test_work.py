"""How many samples are computed at a time, where the command does not say."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from generators import batches
from generators.datasets import Split
from generators.networks.models import small_cnn
from generators.plan import plan
from generators.work import Work


def work(explanation: str, attack: str, shape: tuple[int, ...] = (28, 28), **options: Any) -> Work:
    """The work on 80 black images of this shape."""
    chunk_size, device = options.pop("chunk_size", None), options.pop("device", "cpu")
    found = plan(
        explanation, attack, dataset="mnist", model="small_cnn", given=options, chunk_size=chunk_size
    )
    split = Split(np.zeros((80, *shape), np.uint8), np.arange(80) % 10, (shape[0], shape[1]))
    return Work(found, small_cnn(), split, np.arange(80), torch.float32, torch.device(device), None)


@pytest.mark.parametrize(
    ("explanation", "attack", "options", "expected"),
    [
        ("gradient", "topk", {}, 16),
        ("gradient", "topk", {"device": "cuda"}, 64),
        ("gradient", "topk", {"shape": (227, 227, 3)}, 16),
        ("integrated_gradients", "topk", {}, 3),  # 300 of 334 points
        ("integrated_gradients", "topk", {"attack_n_points": 20}, 16),
        ("integrated_gradients", "topk", {"attack_n_points": 30}, 11),
        ("integrated_gradients", "topk", {"chunk_size": 700}, 7),
        ("integrated_gradients", "topk", {"chunk_size": 64}, 16),  # not even one sample fits
        ("integrated_gradients", "topk", {"shape": (227, 227, 3)}, 16),
        ("integrated_gradients", "random_walk", {}, 16),  # needs no gradient of the map
        ("smooth_grad", "topk", {}, 6),
        ("uniform_smooth", "topk", {"base": "integrated_gradients", "n_draws": 2}, 1),
        ("beta_smooth", "topk", {"base": "integrated_gradients", "attack_n_points": 50}, 6),
        ("uniform_smooth", "topk", {}, 5),
        ("uniform_smooth", "topk", {"n_draws": 1000, "attack_n_draws": 8}, 8),  # an interruption loses little
        ("uniform_smooth", "topk", {"n_draws": 10_000, "attack_n_draws": 64}, 1),
        ("uniform_smooth", "random_sign", {"n_draws": 10_000}, 1),
        ("integrated_gradients", "topk", {"shape": (227, 227, 3), "attack_n_points": 10}, 1),
    ],
)
def test_no_more_samples_than_fit_into_one_graph(
    explanation: str, attack: str, options: dict[str, Any], expected: int
) -> None:
    assert work(explanation, attack, **options).batch_size() == expected


def test_the_default_batch_computes_no_point_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """One sample more does, and an automatic size stops there, if time is proportional to the points."""
    n_images = 0
    forward = torch.nn.Linear.forward

    def counted(layer: torch.nn.Linear, values: torch.Tensor) -> torch.Tensor:
        nonlocal n_images
        n_images += len(values) * (layer.out_features == 10)
        return forward(layer, values)

    monkeypatch.setattr(torch.nn.Linear, "forward", counted)
    found = work("integrated_gradients", "topk", n_points=4, steps=1, chunk_size=8)
    assert found.batch_size() == 2
    found.check()  # looks at the network once, with images of its own

    def images_per_sample(n_samples: int) -> float:
        nonlocal n_images
        n_images = 0
        found.columns(np.arange(n_samples))
        return n_images / n_samples

    assert images_per_sample(1) == images_per_sample(2) < images_per_sample(3) - 3
    monkeypatch.setattr("generators.batches.time.perf_counter", lambda: n_images)
    n_images = 0
    device = torch.device("cpu")
    size = batches.fitting_batch_size(lambda n: found.columns(np.arange(n)), 8, batches.Memory(device))
    assert size == 1  # not 2 or more: twice the memory for the same time


def test_images_that_are_decoded_when_indexed_are_never_indexed_by_one_number() -> None:
    class Decoded:
        def __getitem__(self, index: Any, /) -> NDArray[np.uint8]:
            return np.zeros((len(np.arange(80)[index]), 28, 28), np.uint8)

    found = work("integrated_gradients", "topk")
    split = found.split._replace(images=Decoded())
    assert replace(found, split=split).batch_size() == found.batch_size() == 3
