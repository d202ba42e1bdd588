"""The best iterate: scored in a thread while the next step runs, with the results of a plain loop."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from generators.attacks import ATTACKS
from generators.attacks.acceptance import remaining
from generators.attacks.batch import Batch
from generators.attacks.best import Best
from generators.explanations import abs_sum, gradient
from tests.generators.networks import tiny_cnn

STEPS = 6


@pytest.fixture(scope="module")
def batch() -> Batch:
    network = tiny_cnn()
    images = torch.rand((5, 1, 28, 28), generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    randoms = [np.random.default_rng([0, sample]) for sample in range(len(images))]
    return Batch(network, images, network(images).argmax(1), randoms, gradient)


def iterates(batch: Batch) -> Iterator[torch.Tensor]:
    """Ever noisier images."""
    random = torch.Generator().manual_seed(5)
    for step in range(STEPS):
        noise = torch.randn(batch.images.shape, generator=random, dtype=torch.float64)
        yield (batch.images + 0.02 * (step + 1) * noise).clamp(0, 1)


def test_what_is_found_is_what_a_plain_loop_finds(batch: Batch) -> None:
    texts = ("kendall", "topk_intersection(k=50)")
    left = remaining(texts)
    found = Best(batch, left).among(iterates(batch))
    offered = list(iterates(batch))
    for i, of_metric in enumerate(found):
        for sample, label in enumerate(batch.labels):
            one = slice(sample, sample + 1)

            def map_of(images: torch.Tensor, one: slice = one) -> NDArray[np.float32]:
                attributions = gradient(batch.model, images[one], batch.labels[one])
                result: NDArray[np.float32] = abs_sum(attributions)[0].float().numpy()
                return result

            before = map_of(batch.images)
            best, best_step, n_accepted = left(sample, before, before)[i], 0, 0
            for step, images in enumerate(offered, 1):
                if batch.model(images[one]).argmax() == label:
                    n_accepted += 1
                    score = left(sample, before, map_of(images))[i]
                    if score < best:
                        best, best_step = score, step
            assert (of_metric.n_accepted[sample], of_metric.best_step[sample]) == (n_accepted, best_step)
            expected = (batch.images, *offered)[best_step][sample]
            assert (of_metric.images[sample] == expected).all()
    assert (found[0].best_step != found[1].best_step).any()


def test_images_that_no_step_has_moved_do_not_count(batch: Batch) -> None:
    """They keep their label, but nothing was measured; an image with NaN has the label 0, as argmax says."""
    labels = torch.tensor([0, *batch.labels[1:]])
    still = replace(batch, labels=labels, starts=(batch.images,))
    lost, moved = batch.images.clone(), batch.images.clone()
    lost[0] = lost[1, 0, 3, 3] = torch.nan
    moved[2, 0, 5, 5] += 1e-6
    (found,) = Best(still, remaining(["kendall"])).among([batch.images.clone(), lost, moved], still.starts)
    assert found.n_accepted.tolist() == [0, 0, 1, 0, 0]
    assert (found.images[[0, 1, 3, 4]] == batch.images[[0, 1, 3, 4]]).all()


def test_the_next_step_runs_while_an_iterate_is_scored(batch: Batch) -> None:
    main = threading.get_ident()
    is_stepping = threading.Event()
    threads = []

    def slow(position: int, unperturbed: Any, perturbed: Any) -> Sequence[float]:
        if threading.get_ident() != main:
            threads.append(is_stepping.wait(10))  # ends only if the main thread takes the next step
        return [0.0]

    def steps() -> Iterator[torch.Tensor]:
        for step, images in enumerate(iterates(batch)):
            if step:
                is_stepping.set()
            yield images

    Best(batch, slow).among(steps())
    assert threads
    assert all(threads)


def test_no_more_than_a_few_iterates_wait_for_their_scores(batch: Batch) -> None:
    n_scored, most = 0, 0

    def slow(position: int, unperturbed: Any, perturbed: Any) -> Sequence[float]:
        nonlocal n_scored
        if perturbed is not unperturbed and position == 0:
            time.sleep(0.02)
            n_scored += 1
        return [0.0]

    def steps() -> Iterator[torch.Tensor]:
        nonlocal most
        for step in range(12):
            most = max(most, step - n_scored)
            yield batch.images * 0.999

    Best(batch, slow).among(steps())
    assert n_scored == 12
    assert 1 <= most <= 4


def test_an_error_of_the_scores_or_of_a_step_reaches_the_caller(batch: Batch) -> None:
    n_before = threading.active_count()

    def fails(position: int, unperturbed: Any, perturbed: Any) -> Sequence[float]:
        if perturbed is not unperturbed:
            raise ValueError("no score")
        return [0.0]

    with pytest.raises(ValueError, match="no score"):
        Best(batch, fails).among(iterates(batch))

    def interrupted() -> Iterator[torch.Tensor]:
        yield batch.images.clone()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Best(batch, remaining(["kendall"])).among(interrupted())
    assert threading.active_count() == n_before


# Operations that wait for a device to read numbers or sizes, and methods that wait for a copy to the host.
# On a CPU, such a copy is no operation.
WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal.default")
COPYING = ("cpu", "numpy", "item", "tolist", "__bool__", "__int__", "__float__", "__index__", "__array__")


def operations(waits: list[str]) -> Any:
    """A context that notes operations of this thread which wait for a device."""

    def dispatch(mode: Any, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        waits.extend(name for name in WAITING if name in str(func))
        return func(*args, **(kwargs or {}))

    made: Any = type("Operations", (TorchDispatchMode,), {"__torch_dispatch__": dispatch})
    return made()


def copies(waits: list[str]) -> Any:
    """A context that notes calls of this thread which wait for a copy to the host."""

    def called(mode: Any, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, given = getattr(func, "__name__", ""), kwargs or {}
        to_host = name == "to" and "cpu" in map(str, (*args[1:], *given.values()))
        if name in COPYING or (to_host and not given.get("non_blocking")):
            waits.append(name)
        return func(*args, **given)

    made: Any = type("Copies", (TorchFunctionMode,), {"__torch_function__": called})
    return made()


def test_copies_to_the_host_are_noticed() -> None:
    waits: list[str] = []
    one = torch.ones(1)
    with copies(waits):
        one.to("cpu", non_blocking=True)
        one.to("cpu")
        one.to(device=torch.device("cpu"))
        one.cpu().numpy()
        if one:
            one.tolist()
    assert waits == ["to", "to", "cpu", "numpy", "__bool__", "tolist"]


@pytest.mark.parametrize("watch", [operations, copies])
@pytest.mark.parametrize("name", ["topk", "mass_center", "random_walk", "l2_topk"])
def test_no_step_waits_for_the_device(batch: Batch, name: str, watch: Callable[[list[str]], Any]) -> None:
    more: dict[str, Any] = {"attack_k": 50} if "topk" in name else {}
    counts = []
    for steps in (1, 2, 6):  # the network is checked once, by the first attack
        waits: list[str] = []
        with watch(waits):
            ATTACKS[name](
                batch.model,
                batch.images,
                batch.labels,
                batch.randoms,
                explanation=gradient,
                eps=0.1,
                steps=steps,
                step_size=0.02,
                **more,
            )
        counts.append(len(waits))
    assert counts[1] == counts[2]
