"""Optimizers as published, and learning rates that change."""

import argparse
import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from generators import published
from generators.datasets import Split
from generators.networks.training import Course, Training, load_batch
from generators.published import Optimizer
from generators.rates import learning_rate, rate_at


def test_a_rate_is_that_of_the_last_change() -> None:
    rates = learning_rate("1e-3,.01@500,1e-3@60000")
    assert rates == "0.001,0.01@500,0.001@60000"
    assert [rate_at(rates, step) for step in (0, 499, 500, 59_999, 60_000)] == [1e-3, 1e-3, 1e-2, 1e-2, 1e-3]
    assert learning_rate(str(rates)) == rates
    assert learning_rate("1e-4") == rate_at(1e-4, 7) == 1e-4


@pytest.mark.parametrize(
    "text", ["", "fast", "1@2", "1,2", "1,2@0", "1,2@5,3@5", "1,2@9,3@5", "1,2@1@3", "1,2@-3", "1@"]
)
def test_other_texts_are_no_rates(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"such as 0\.001,0\.01@500,0\.001@60000, got '"):
        learning_rate(text)


def test_published_optimizers() -> None:
    """RAR's and ART's configurations."""
    adam, sgd = published.OPTIMIZERS["adam"], published.OPTIMIZERS["sgd"]
    assert adam == Optimizer("adam", 1e-4)
    assert sgd == Optimizer("sgd", "0.001,0.01@500,0.001@60000", 0.9, 2e-4)
    rates = {
        ("gtsrb", "art"): "0.001,0.01@500,0.001@60000",
        ("flower17", "pgd"): "0.001,0.01@500,0.001@60000",
        ("flower17", "ig_norm"): "0.0001,0.001@500,0.0001@60000",
        ("flower17", "ig_sum_norm"): "0.0001,0.001@500,0.0001@60000",
        ("flower17", "art"): "0.0001,0.0003@500,0.0001@60000",
    }
    for (dataset, regime), rate in rates.items():
        assert published.optimizer("sgd", dataset, regime) == dataclasses.replace(sgd, learning_rate=rate)
        assert published.optimizer("adam", dataset, regime) == adam


SPLIT = Split(np.arange(96, dtype=np.uint8).reshape(6, 4, 4), np.array([0, 1, 2, 0, 1, 2]), (4, 4))
SETTINGS = published.regime("mnist", "natural")


def tiny(optimizer: Optimizer) -> Training:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3))
    return Training(network, torch.device("cpu"), optimizer=optimizer, seed=0)


def batches(training: Training, n_steps: int) -> Iterator[Any]:
    """The weights after each step of two samples."""
    course = Course(SPLIT, np.arange(6), "natural", SETTINGS, 2, n_steps)
    found: list[Any] = []
    while training.n_steps(course) < n_steps:
        training.epoch(
            course, lambda: found.append([p.detach().clone() for p in training.network.parameters()])
        )
    yield from found


def test_sgd_is_that_of_plain_loops() -> None:
    """Momentum, changing rates, and decay of the weights but not of the biases."""
    rates = learning_rate("0.5,2@2,0.1@5")
    trained = list(batches(tiny(Optimizer("sgd", rates, momentum=0.9, weight_decay=0.3)), 7))
    network = tiny(published.OPTIMIZERS["adam"]).network
    random = torch.Generator().manual_seed(0)
    velocity = [torch.zeros_like(values) for values in network.parameters()]
    for step, expected in enumerate(trained):
        if step % 3 == 0:
            order = torch.randperm(6, generator=random).numpy()
        images, labels = load_batch(SPLIT, order[2 * (step % 3) :][:2], torch.device("cpu"))
        loss = cross_entropy(network(images), labels)
        gradients = torch.autograd.grad(loss, list(network.parameters()))
        rate = 0.5 if step < 2 else 2 if step < 5 else 0.1
        with torch.no_grad():
            for values, gradient, moved in zip(network.parameters(), gradients, velocity, strict=True):
                moved.mul_(0.9).add_(gradient + (0.3 * values if values.ndim > 1 else 0))
                values.sub_(rate * moved)
        for values, wanted in zip(network.parameters(), expected, strict=True):
            torch.testing.assert_close(values.detach(), wanted)
    assert len(trained) == 7


def test_a_constant_rate_is_plain_adam() -> None:
    trained = list(batches(tiny(Optimizer("adam", 0.01)), 4))
    network = tiny(Optimizer("adam", 0.01)).network
    adam, random = torch.optim.Adam(network.parameters(), lr=0.01), torch.Generator().manual_seed(0)
    orders = np.concatenate([torch.randperm(6, generator=random).numpy() for _ in range(2)])
    for step, expected in enumerate(trained):
        images, labels = load_batch(SPLIT, orders[2 * step :][:2], torch.device("cpu"))
        adam.zero_grad()
        torch.autograd.backward(cross_entropy(network(images), labels))
        adam.step()
        assert all((p == wanted).all() for p, wanted in zip(network.parameters(), expected, strict=True))
