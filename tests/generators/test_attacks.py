"""Attacks: guarantees, gradients, and the iterate that is returned."""

import argparse
import copy
import inspect
import itertools
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import kendalltau, spearmanr
from torch import nn

import generators
import lensmetrics as lm
from generators import published
from generators.attacks import (
    ATTACKS,
    Found,
    losses,
    target_map,
)
from generators.attacks.acceptance import ACCEPTANCE, acceptance_metric, remaining
from generators.attacks.corruptions import CORRUPTIONS
from generators.attacks.iterate import Ball
from generators.datasets import DATASETS
from generators.explanations import abs_sum, gradient, integrated_gradients
from generators.networks.activations import with_softplus
from generators.networks.checkpoints import load
from generators.softening import Growth, beta_at, softening
from tests.generators.networks import tiny_cnn

EMBEDDED = Path(lm.__file__).parent / "data" / "fashion_mnist-natural-gradient-random_sign.h5"
NATURAL = Path(generators.__file__).parent / "weights" / "fashion_mnist-small_cnn-natural.pt"
EXPLAIN: dict[str, Any] = {
    "gradient": gradient,
    "integrated_gradients": partial(integrated_gradients, n_points=3),
}
REGION = (2, 3, 8, 10)
STEPS: dict[str, Any] = {"eps": 0.1, "steps": 12, "step_size": 0.02}
# The parameters of each attack in addition to the explanation; target_map also needs targets.
SETTING: dict[str, dict[str, Any]] = {
    "random_walk": STEPS,
    "topk": {**STEPS, "attack_k": 100},
    "topk_lens": {**STEPS, "attack_k": 60, "attack_w": 2},
    "mass_center": STEPS,
    "target_region": {**STEPS, "region": REGION},
    "target_map": {"steps": 12, "learning_rate": 0.01},
    "l2_topk": {"eps": 1.0, "steps": 12, "step_size": 0.2, "attack_k": 100},
}
IN_A_BALL = [name for name in SETTING if name != "target_map"]
WITH_RESTARTS = [name for name in IN_A_BALL if name != "random_walk"]


@pytest.fixture(scope="module")
def network() -> Any:
    return tiny_cnn()


@pytest.fixture(scope="module")
def images() -> Any:
    return torch.rand((6, 1, 28, 28), generator=torch.Generator().manual_seed(4), dtype=torch.float64)


@pytest.fixture(scope="module")
def trained() -> tuple[Any, Any, Any]:
    """The naturally trained network of the repository with six images and labels of an embedded file."""
    network, _ = load(NATURAL, dataset="fashion_mnist", model="small_cnn")
    with h5py.File(EMBEDDED) as file:
        pixels, labels = file["image"][:6], file["label"][:6]
    return network.double(), torch.from_numpy(pixels).double()[:, None] / 255, torch.from_numpy(labels)


def labels_of(network: Any, images: Any) -> Any:
    return network(images).argmax(1)


def randoms(n: int) -> list[np.random.Generator]:
    return [np.random.default_rng([0, sample]) for sample in range(n)]


def maps_of(network: Any, explanation: Any, images: Any, labels: Any) -> Any:
    return abs_sum(explanation(network, images, labels))


def attack(
    name: str, network: Any, images: Any, labels: Any, explanation: Any = gradient, **more: Any
) -> Any:
    """The attack with SETTING; the target of each map is the map of the sample before it."""
    given = {**SETTING[name], **more}
    if name == "target_map" and "targets" not in given:
        given["targets"] = maps_of(network, explanation, images, labels).roll(1, 0)
    return perturbed_by(name, network, images, labels, explanation=explanation, **given)


def perturbed_by(name: str, network: Any, images: Any, labels: Any, **given: Any) -> Any:
    """The images that the attack returns by its one acceptance."""
    if "acceptance" in given:
        given["acceptance"] = [given["acceptance"]]
    (found,) = ATTACKS[name](network, images, labels, randoms(len(images)), **given)
    return found.images


def assert_equal(one: Found, other: Found) -> None:
    assert (one.images == other.images).all()
    assert (one.n_accepted == other.n_accepted).all()
    assert (one.best_step == other.best_step).all()


def top_pixels(attributions: Any, k: int) -> NDArray[np.bool_]:
    """The top k of one map (height, width), in plain NumPy."""
    flat = np.zeros(attributions.size, np.bool_)
    flat[np.argsort(-attributions.ravel(), kind="stable")[:k]] = True
    return flat.reshape(attributions.shape)


def widened(mask: NDArray[np.bool_], w: int) -> NDArray[np.bool_]:
    """The mask dilated by a window around each of its pixels, in plain NumPy."""
    wide = np.zeros_like(mask)
    for row, column in np.argwhere(mask):
        wide[max(row - w, 0) : row + w + 1, max(column - w, 0) : column + w + 1] = True
    return wide


def center(attributions: Any) -> Any:
    """Row and column of the center of mass of one map, a pixel at a time along each axis."""
    rows = sum(row * attributions[row].sum() for row in range(attributions.shape[0]))
    columns = sum(column * attributions[:, column].sum() for column in range(attributions.shape[1]))
    return torch.stack([rows, columns]) / attributions.sum()


def map_loss(name: str, maps: Any) -> Callable[[Any], Any]:
    """The loss of smoothed maps that the attack of this name descends, as the package writes it."""
    if name == "topk":
        mask = losses.top_mask(maps, 100)
        return lambda found: losses.inside(found, mask)
    if name == "topk_lens":
        mask = losses.dilated(losses.top_mask(maps, 60), 2)
        return lambda found: losses.inside(found, mask)
    if name == "target_region":
        mask = losses.region_mask(REGION, (28, 28))
        return lambda found: -losses.inside(found, mask)
    origin = losses.centers(losses.shares(maps)) + 0.5
    return lambda found: losses.squared_shift(found, origin)


@pytest.mark.parametrize("explanation", EXPLAIN)
@pytest.mark.parametrize(
    "name", ["topk", "topk_lens", "target_region", "mass_center", "target_map", "logits"]
)
def test_gradients_of_losses_match_finite_differences(
    network: Any, images: Any, name: str, explanation: str
) -> None:
    """Directional derivatives along random directions, the samples moving together."""
    explain = EXPLAIN[explanation]
    x, labels = images[:2], labels_of(network, images[:2])
    smooth = with_softplus(network, 10 if name in ("target_map", "logits") else 1)
    maps = maps_of(network, explain, x, labels)

    def loss(at: Any) -> Any:
        if name in ("target_map", "logits"):
            on_logits = name == "logits"
            return losses.target_map_loss(
                *(smooth, explain, at, labels),
                targets=losses.shares(maps.roll(1, 0)),
                output=losses.output_of(network, images[2:4], on_logits),
                map_weight=1e7,
                output_weight=1e4,
                on_logits=on_logits,
            )
        return map_loss(name, maps)(losses.smooth_maps(smooth, explain, at, labels))

    _, found = losses.value_and_gradient(loss, x)
    random, step = torch.Generator().manual_seed(5), 1e-6
    differences, products = [], []
    for _ in range(6):
        direction = torch.randn(x.shape, generator=random, dtype=x.dtype)
        ahead, behind = (loss(x + side * step * direction).detach().sum() for side in (1, -1))
        differences.append(float((ahead - behind) / (2 * step)))
        products.append(float((found * direction).sum()))
    assert np.linalg.norm(differences) > 0
    error = np.linalg.norm(np.subtract(products, differences)) / np.linalg.norm(differences)
    assert error < 1e-4


def test_losses_equal_plain_loops(network: Any, images: Any) -> None:
    """Against one map at a time, written out."""
    maps = maps_of(network, gradient, images, labels_of(network, images))
    shares = losses.shares(maps)
    mask = losses.dilated(losses.top_mask(maps, 60), 2)
    origin = torch.tensor([[3.0, 20.0]]).double().expand(6, 2)
    for i, one in enumerate(maps):
        wide = widened(top_pixels(one.numpy(), 60), 2)
        assert (mask[i].numpy() == wide).all()
        share = float(one[torch.from_numpy(wide)].sum() / one.sum())
        assert float(losses.inside(shares, mask)[i]) == pytest.approx(share * 784)
        torch.testing.assert_close(losses.centers(shares)[i], center(one))
        shift = float(((center(one) - origin[i]) ** 2).sum())
        assert float(losses.squared_shift(shares, origin)[i]) == pytest.approx(shift)
        error = float(((one / one.sum() - maps[0] / maps[0].sum()) ** 2).mean())
        wanted = losses.shares(maps[:1]).expand_as(maps)
        assert float(losses.squared_error(shares, wanted)[i]) == pytest.approx(error, abs=1e-18)


def test_a_paler_map_has_the_same_losses(network: Any, images: Any) -> None:
    labels = labels_of(network, images)

    def pale(*given: Any, **more: Any) -> Any:
        return gradient(*given, **more) / 7

    one, other = (losses.smooth_maps(network, explain, images, labels) for explain in (gradient, pale))
    torch.testing.assert_close(one, other)
    torch.testing.assert_close(one.sum((1, 2)), torch.ones(6).double())


def test_top_mask_gives_ties_to_the_lower_index() -> None:
    maps = torch.tensor([[[1.0, 3.0, 1.0], [1.0, 0.0, 2.0]], [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]])
    assert losses.top_mask(maps, 3).int().tolist() == [[[1, 1, 0], [0, 0, 1]], [[1, 1, 1], [0, 0, 0]]]


def test_dilation_reaches_w_pixels_and_stops_at_the_border() -> None:
    mask = torch.zeros((2, 5, 6), dtype=torch.bool)
    mask[0, 0, 0] = mask[1, 2, 3] = True
    wide = losses.dilated(mask, 1)
    assert wide[0].nonzero().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert wide[1].nonzero().tolist() == [list(at) for at in itertools.product((1, 2, 3), (2, 3, 4))]
    assert (losses.dilated(mask, 0) == mask).all()
    assert losses.dilated(mask, 9).all()


@pytest.mark.parametrize(
    "region", [(-1, 0, 3, 3), (0, -1, 3, 3), (0, 0, 0, 3), (0, 0, 3, 0), (26, 0, 3, 3), (0, 26, 3, 3)]
)
def test_a_region_outside_the_map_is_refused(region: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"inside the map of 28x28, got \("):
        losses.region_mask(region, (28, 28))
    assert losses.region_mask((25, 25, 3, 3), (28, 28)).nonzero().tolist()[0] == [25, 25]


def test_random_points_fill_the_ball() -> None:
    images = torch.full((400, 1, 1, 3), 0.5, dtype=torch.float64)
    generators = [np.random.default_rng([1, sample]) for sample in range(400)]
    distance = (Ball(images, 0.2, "l2").random_point(generators) - images).flatten(1).norm(dim=1)
    assert distance.max() <= 0.2 + 1e-12
    # Half of a three-dimensional ball is within 0.5 ** (1 / 3) of its radius.
    assert float((distance < 0.2 * 0.5 ** (1 / 3)).double().mean()) == pytest.approx(0.5, abs=0.1)
    change = Ball(images, 0.2, "linf").random_point(generators) - images
    assert change.abs().max() <= 0.2
    for low in (-0.2, -0.1, 0.0, 0.1):
        share = ((change >= low) & (change < low + 0.1)).double().mean()
        assert float(share) == pytest.approx(0.25, abs=0.05)
    bright = Ball(torch.ones((50, 1, 1, 3), dtype=torch.float64), 0.2, "l2").random_point(generators[:50])
    assert bright.max() <= 1


def test_l2_steps_have_their_length_and_stop_at_the_ball() -> None:
    images = torch.full((2, 1, 2, 2), 0.5, dtype=torch.float64)
    direction = torch.zeros_like(images)
    direction[0, 0, 0, 0], direction[0, 0, 0, 1] = 30, -40  # the second sample has no direction
    ball = Ball(images, 0.25, "l2")
    once = ball.step(images, direction, 0.1)
    assert (once - images)[0].flatten().tolist() == pytest.approx([0.06, -0.08, 0, 0])
    assert (once[1] == images[1]).all()
    far = ball.step(once, direction, 7)
    assert (far - images)[0].flatten().tolist() == pytest.approx([0.15, -0.2, 0, 0])


@pytest.mark.parametrize("explanation", EXPLAIN)
@pytest.mark.parametrize("name", SETTING)
def test_perturbed_images_are_in_the_ball_and_keep_their_label(
    network: Any, images: Any, name: str, explanation: str
) -> None:
    labels = labels_of(network, images)
    found = attack(name, network, images, labels, EXPLAIN[explanation])
    change = (found - images).flatten(1)
    if name == "l2_topk":
        assert change.norm(dim=1).max() <= 1 + 1e-12
    elif name != "target_map":
        assert change.abs().max() <= 0.1 + 1e-12
    assert found.min() >= 0
    assert found.max() <= 1
    assert (labels_of(network, found) == labels).all()
    assert (change != 0).any(1).sum() >= 4, "most samples came back as they were"


def test_an_image_whose_map_scores_as_before_does_not_count(network: Any, images: Any) -> None:
    """Also where maps differ only beyond float32, in which pixels of a pair file would tie."""
    fixed = torch.from_numpy(np.random.default_rng(2).random((6, 1, 28, 28)))
    plain = 3 * torch.ones_like(fixed)
    plain[:, :, 0] = 5

    def same(model: Any, x: Any, y: Any) -> Any:
        return fixed

    def nearly_same(model: Any, x: Any, y: Any) -> Any:
        return plain + 1e-9 * x

    for explanation in (same, nearly_same):
        found = attack("random_walk", network, images, labels_of(network, images), explanation)
        assert (found == images).all()


@pytest.mark.parametrize("name", ["random_sign", *SETTING])
def test_samples_without_an_accepted_image_are_returned_unperturbed(
    network: Any, images: Any, name: str
) -> None:
    other_labels = network(images).argmin(1)
    if name == "random_sign":
        found = perturbed_by("random_sign", network, images, other_labels, eps=0.1)
    else:
        found = attack(name, network, images, other_labels)
    assert (found == images).all()


@pytest.mark.parametrize("name", SETTING)
def test_samples_do_not_influence_one_another(trained: tuple[Any, Any, Any], name: str) -> None:
    network, images, labels = trained
    more: dict[str, Any] = {"restarts": 2} if name in WITH_RESTARTS else {}
    targets = maps_of(network, gradient, images, labels).roll(1, 0)
    together = attack(name, network, images, labels, steps=6, **more)
    for i in range(6):
        given = {**SETTING[name], **more, "steps": 6, "explanation": gradient}
        if name == "target_map":
            given["targets"] = targets[i : i + 1]
        one = slice(i, i + 1)
        (alone,) = ATTACKS[name](network, images[one], labels[one], randoms(6)[one], **given)
        torch.testing.assert_close(alone.images, together[one], rtol=0, atol=1e-12)


def score_of(network: Any, images: Any, perturbed: Any, labels: Any, explanation: Any, metric: str) -> Any:
    maps = (maps_of(network, explanation, x, labels).float().numpy() for x in (images, perturbed))
    return np.array([lm.parse_metric(metric)(lm.MapPair(u, p)) for u, p in zip(*maps, strict=True)])


@pytest.mark.parametrize("explanation", EXPLAIN)
@pytest.mark.parametrize("name", [name for name in SETTING if name != "random_walk"])
def test_directed_attacks_reach_their_target_better_than_random_ones(
    trained: tuple[Any, Any, Any], name: str, explanation: str
) -> None:
    """Each by its own target; random is one draw at equal eps, for l2_topk one of equal l2 norm."""
    network, images, labels = trained
    explain = EXPLAIN[explanation]
    before = maps_of(network, explain, images, labels)
    targets = losses.shares(before.roll(1, 0))

    def left(perturbed: Any) -> float:
        """What the attack means to lower, on the network itself."""
        if name == "mass_center":
            shift = score_of(network, images, perturbed, labels, explain, "mass_center_shift")
            return -float(shift.mean())
        after = losses.shares(maps_of(network, explain, perturbed, labels))
        if name == "target_map":
            return float(losses.squared_error(after, targets).mean()) * 784**2
        return float(map_loss("topk" if name == "l2_topk" else name, before)(after).mean()) / 784

    directed = left(attack(name, network, images, labels, explain))
    if name == "l2_topk":
        noise = torch.from_numpy(np.stack([random.standard_normal((1, 28, 28)) for random in randoms(6)]))
        random = torch.clamp(images + noise / noise.flatten(1).norm(dim=1)[:, None, None, None], 0, 1)
    else:
        random = perturbed_by("random_sign", network, images, labels, eps=0.1)
    margin = {"mass_center": 0.4, "target_map": 0.25, "target_region": 0.015}.get(name, 0.02)
    assert directed < min(left(random), left(images)) - margin


def twin_direction(name: str, network: Any, image: Any, label: Any, current: Any) -> Any:
    """The direction of one sample at `current`, written out, before its sign or unit vector is taken."""
    before = abs_sum(gradient(network, image, label))[0]
    at = current.clone().requires_grad_(True)
    after = abs_sum(gradient(with_softplus(network), at, label, differentiable=True))[0]
    after = after / after.sum()
    if name in ("topk", "l2_topk"):
        wanted = -after[torch.from_numpy(top_pixels(before.numpy(), 100))].sum()
    elif name == "topk_lens":
        wanted = -after[torch.from_numpy(widened(top_pixels(before.numpy(), 60), 2))].sum()
    elif name == "target_region":
        wanted = after[2:10, 3:13].sum()
    else:
        wanted = ((center(after) - center(before)) ** 2).sum()
    return torch.autograd.grad(wanted, at)[0]


def twin_step(name: str, image: Any, current: Any, direction: Any, eps: float, step_size: float) -> Any:
    if name != "l2_topk":
        moved = current + step_size * direction.sign()
        return torch.minimum(torch.maximum(moved, image - eps), image + eps).clamp(0, 1)
    change = current + step_size * direction / direction.norm() - image
    return (image + change * min(1, eps / float(change.norm()))).clamp(0, 1)


def twin_score(metric: str, before: Any, after: Any) -> float:
    """The score computed independently of the package where possible; lower is better for the attack."""
    u, p = (maps.float().numpy()[0] for maps in (before, after))
    if metric == "kendall":
        return float(kendalltau(u, p).statistic)
    if metric == "spearman":
        return float(spearmanr(u.ravel(), p.ravel()).statistic)
    if metric == "mass_center_shift":
        return -float((center(after[0]) - center(before[0])).norm())
    s, t = top_pixels(u, 50), top_pixels(p, 50)
    if metric.startswith("lens_recall"):
        s = widened(s, 1)
    elif metric.startswith("lens_precision"):
        t = widened(t, 1)
    return float((s & t).sum()) / 50


TWINS = [
    ("topk", "kendall"),
    ("topk", "spearman"),
    ("topk_lens", "lens_recall(k=50,w=1)"),
    ("target_region", "lens_precision(k=50,w=1)"),
    ("mass_center", "mass_center_shift"),
    ("l2_topk", "topk_intersection(k=50)"),
    ("random_walk", "kendall"),
]


@pytest.mark.parametrize(("name", "acceptance"), TWINS)
def test_attacks_return_the_best_iterate_that_keeps_its_label(
    network: Any, images: Any, name: str, acceptance: str
) -> None:
    """One sample at a time, every iterate kept, chosen afterwards."""
    labels = labels_of(network, images)
    size = {"eps": 3.0, "step_size": 0.8} if name == "l2_topk" else {"eps": 0.4, "step_size": 0.1}
    given = {**SETTING[name], **size, "explanation": gradient, "acceptance": [acceptance]}
    (found,) = ATTACKS[name](network, images, labels, randoms(6), **given)
    n_refused = n_not_last = 0
    rows = zip(images.split(1), labels.split(1), randoms(6), strict=True)
    for i, (image, label, random) in enumerate(rows):
        before = abs_sum(gradient(network, image, label))
        candidates = [(twin_score(acceptance, before, before), 0, image)]
        current = image
        for step in range(1, 13):
            if name == "random_walk":
                direction = torch.from_numpy(random.standard_normal((1, 28, 28)))[None]
            else:
                direction = twin_direction(name, network, image, label, current)
            current = twin_step(name, image, current, direction, **size)
            if labels_of(network, current) == label:
                score = twin_score(acceptance, before, abs_sum(gradient(network, current, label)))
                candidates.append((score, step, current))
            else:
                n_refused += 1
        _, best_step, best = min(candidates, key=lambda candidate: candidate[0])
        n_not_last += int((best != current).any())
        torch.testing.assert_close(found.images[i : i + 1], best)
        assert (found.n_accepted[i], found.best_step[i]) == (len(candidates) - 1, best_step)
    assert n_not_last > 0, "the last iterate was always the best, so nothing was tested"
    assert n_refused > 0 or name == "random_walk", "no iterate changed its label, so nothing was tested"


@pytest.mark.parametrize("on_logits", [False, True])
def test_target_map_returns_the_best_iterate_that_keeps_its_label(
    trained: tuple[Any, Any, Any], on_logits: bool
) -> None:
    """One sample at a time, with a separate optimizer and a fresh softplus copy at every step."""
    network, images, labels = trained
    setting: dict[str, Any] = {"softening": [Growth(5, 50)], "map_weight": 1e7, "output_weight": 2.0}
    wanted = maps_of(network, gradient, images, labels).roll(1, 0)
    found = attack(
        *("target_map", network, images, labels),
        **setting | {"targets": wanted * 3, "on_logits": on_logits, "steps": 15, "learning_rate": 0.08},
    )
    n_not_last = n_refused = 0

    def squash(logits: Any) -> Any:
        return logits if on_logits else torch.softmax(logits, 1)

    rows = zip(images.split(1), labels.split(1), found.split(1), wanted, strict=True)
    for image, label, result, target in rows:

        def error(maps: Any, target: Any = target) -> Any:
            return ((maps / maps.sum() - target / target.sum()) ** 2).mean()

        current = image.clone().requires_grad_(True)
        adam = torch.optim.Adam([current], lr=0.08)
        candidates = [(float(error(abs_sum(gradient(network, image, label)))), image)]
        for t in range(15):
            smooth = with_softplus(network, 5 * 10 ** (t / 15))
            maps = abs_sum(gradient(smooth, current, label, differentiable=True))
            output = ((squash(smooth(current)) - squash(network(image))) ** 2).mean()
            adam.zero_grad()
            (1e7 * error(maps) + 2 * output).backward()
            adam.step()
            with torch.no_grad():
                current.clamp_(0, 1)
            at = current.detach().clone()
            if labels_of(network, at) == label:
                candidates.append((float(error(abs_sum(gradient(network, at, label)))), at))
            else:
                n_refused += 1
        best = min(candidates, key=lambda pair: pair[0])[1]
        n_not_last += int((best != at).any())
        torch.testing.assert_close(result, best, rtol=0, atol=1e-6)
    assert n_not_last > 0
    assert n_refused > 0


@pytest.mark.parametrize("acceptance", [*("kendall", "spearman", "mass_center_shift"), *("LENS", "topk")])
def test_acceptance_takes_the_worse_map_and_never_an_undefined_one(acceptance: str) -> None:
    text = {"LENS": "lens_precision(k=5,w=1)", "topk": "topk_intersection(k=5)"}.get(acceptance, acceptance)
    random = np.random.default_rng(0)
    one = random.random((9, 9), dtype=np.float32)
    near, far = one.copy(), one[::-1] * np.linspace(0, 1, 9, dtype=np.float32)
    near[0, 0] += 0.3
    left = remaining([text])
    same, some, much = (left(0, one, other)[0] for other in (one, near, far))
    assert same == ACCEPTANCE[acceptance_metric(text).name]
    assert much < some <= same
    assert not left(0, one, np.full_like(one, np.nan))[0] < same


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cosine", "--acceptance must be one of kendall, spearman"),
        ("kendal", "--acceptance must be one of kendall, spearman.* got kendal$"),
        ("lens_recall", "lens_recall needs k"),
    ],
)
def test_other_acceptance_is_refused(network: Any, images: Any, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        attack("topk", network, images, labels_of(network, images), acceptance=text)


@pytest.mark.parametrize("name", ["random_walk", "mass_center", "l2_topk"])
def test_what_a_metric_finds_does_not_depend_on_the_others(network: Any, images: Any, name: str) -> None:
    labels = labels_of(network, images)
    more: dict[str, Any] = {"softening": [1.0, 3.0], "restarts": 3} if name in WITH_RESTARTS else {}

    def found(*acceptance: str) -> tuple[Found, ...]:
        given = {**SETTING[name], **more, "steps": 3, "explanation": gradient, "acceptance": acceptance}
        return ATTACKS[name](network, images, labels, randoms(6), **given)

    kendall, topk = "kendall", "topk_intersection(k=100)"
    together, reverse = found(kendall, topk), found(topk, kendall)
    for i, metric in enumerate((kendall, topk)):
        (alone,) = found(metric)
        assert_equal(together[i], alone)
        assert_equal(reverse[1 - i], alone)
    assert (together[0].n_accepted == together[1].n_accepted).all()
    assert (together[0].best_step != together[1].best_step).any()


@pytest.mark.parametrize("name", ["topk", "mass_center", "l2_topk"])
def test_steps_are_counted_over_all_runs(network: Any, images: Any, name: str) -> None:
    """Every iterate is seen as it is explained, and the best of all is chosen afterwards."""
    labels = labels_of(network, images)
    seen = []

    def spy(model: Any, x: Any, y: Any, *, differentiable: bool = False) -> Any:
        if not differentiable:
            seen.append(x)
        return gradient(model, x, y, differentiable=differentiable)

    more: dict[str, Any] = {"eps": 3.0, "step_size": 1.5} if name == "l2_topk" else {"eps": 0.4}
    given = {**SETTING[name], **more, "steps": 2, "softening": [1.0, 3.0], "restarts": 3}
    (found,) = ATTACKS[name](network, images, labels, randoms(6), explanation=spy, **given)
    scores = [score_of(network, images, at, labels, gradient, "kendall") for at in seen]
    keeps = np.array([(labels_of(network, at) == labels).numpy() for at in seen])
    assert len(seen) == 7  # the images, then three runs of two steps
    least = np.where(keeps, scores, np.inf).argmin(0)
    assert found.n_accepted.tolist() == keeps[1:].sum(0).tolist()
    assert found.best_step.tolist() == least.tolist()
    assert len(set(least.tolist())) > 1
    for i, step in enumerate(least):
        assert (found.images[i] == seen[step][i]).all()


@pytest.mark.parametrize("name", WITH_RESTARTS)
def test_restarts_never_do_worse(network: Any, images: Any, name: str) -> None:
    labels = labels_of(network, images)
    scores = []
    for restarts in (1, 3):
        found = attack(name, network, images, labels, steps=3, restarts=restarts)
        scores.append(score_of(network, images, found, labels, gradient, "kendall"))
    assert (scores[1] <= scores[0]).all()
    assert (scores[1] < scores[0]).any()


@pytest.mark.parametrize("name", WITH_RESTARTS)
def test_more_softenings_never_do_worse(network: Any, images: Any, name: str) -> None:
    labels = labels_of(network, images)
    scores = []
    for betas in ([3.0], [3.0, Growth(1, 30)]):
        found = attack(name, network, images, labels, steps=3, softening=betas)
        scores.append(score_of(network, images, found, labels, gradient, "kendall"))
    assert (scores[1] <= scores[0]).all()
    assert (scores[1] < scores[0]).any()


def test_runs_take_the_softenings_in_turn(network: Any, images: Any) -> None:
    """The first run with each starts at the images, later ones elsewhere; inf is the network itself."""
    betas, at_images = [], []

    def spy(model: Any, x: Any, y: Any, *, differentiable: bool = False) -> Any:
        if differentiable:
            betas.append([part.beta for part in model.modules() if isinstance(part, nn.Softplus)][:1])
            at_images.append(bool((x == images).all()))
        return gradient(model, x, y, differentiable=differentiable)

    labels = labels_of(network, images)
    attack("topk", network, images, labels, spy, steps=2, softening=[3.0, Growth(1, 4), math.inf], restarts=4)
    assert betas == [[3.0], [3.0], [1.0], [2.0], [], [], [3.0], [3.0]]
    # On the network itself the gradient of the map is zero, so the second step is still at the images.
    assert at_images == [True, False, True, False, True, True, False, False]
    with pytest.raises(ValueError, match="--restarts 2 is too few for the 3 values of --softening"):
        attack("topk", network, images, labels, softening=[1.0, 3.0, 10.0], restarts=2)


@pytest.mark.parametrize("name", IN_A_BALL)
def test_less_is_left_in_a_larger_ball_that_starts_from_the_smaller(
    trained: tuple[Any, Any, Any], name: str
) -> None:
    network, images, labels = trained
    given = {**SETTING[name], "steps": 3, "explanation": gradient, "acceptance": ["kendall", "spearman"]}
    starts: tuple[Any, ...] = ()
    least = [np.ones(6), np.ones(6)]
    for factor in (0.2, 0.25, 1):
        sized = {**given, "eps": factor * given["eps"]}
        found = ATTACKS[name](network, images, labels, randoms(6), starts=starts, **sized)
        starts = tuple(one.images for one in found)
        for i, metric in enumerate(given["acceptance"]):
            left = score_of(network, images, found[i].images, labels, gradient, metric)
            assert (left <= least[i] + 1e-12).all()
            least[i] = left
    kept = ATTACKS[name](network, images, labels, randoms(6), starts=starts, **{**sized, "steps": 1})[0]
    of_start = (kept.images == starts[0]).flatten(1).all(1).numpy()
    assert of_start.any()
    assert (kept.best_step[of_start] == 0).all()
    assert (kept.n_accepted[of_start] >= 1).all()


def test_random_sign_moves_every_pixel_by_eps_where_it_can(network: Any, images: Any) -> None:
    labels = labels_of(network, images)
    found = perturbed_by("random_sign", network, images, labels, eps=0.01)
    inside = (images > 0.01) & (images < 0.99)
    torch.testing.assert_close((found - images).abs()[inside], torch.full_like(images, 0.01)[inside])
    assert 0.4 < float(((found > images)[inside]).double().mean()) < 0.6
    (again,) = ATTACKS["random_sign"](network, images[2:3], labels[2:3], randoms(6)[2:3], eps=0.01)
    assert (again.images == found[2:3]).all()


def test_noise_that_changes_the_label_is_left_kept_or_halved(trained: tuple[Any, Any, Any]) -> None:
    """Each sample alone; what is returned lies on the way from the image to the one draw."""
    network, images, labels = trained
    found = {
        choice: ATTACKS["random_sign"](network, images, labels, randoms(6), eps=0.5, on_label_change=choice)[
            0
        ]
        for choice in ("leave", "keep", "halve")
    }
    draw = found["keep"].images
    stays = (labels_of(network, draw) == labels).numpy()
    assert 0 < stays.sum() < 6
    assert found["keep"].n_accepted.tolist() == [1] * 6
    assert found["leave"].n_accepted.tolist() == stays.tolist()
    for i, image in enumerate(images):
        assert (found["leave"].images[i] == (draw[i] if stays[i] else image)).all()
        points = [image + (draw[i] - image) / 2**n for n in range(9)]
        kept = [point for point in points if labels_of(network, point[None])[0] == labels[i]]
        expected = kept[0] if kept else image
        torch.testing.assert_close(found["halve"].images[i], expected, rtol=0, atol=1e-12)
        assert found["halve"].n_accepted[i] == found["halve"].best_step[i] == bool(kept)
    assert found["halve"].n_accepted.sum() > stays.sum()


@pytest.mark.parametrize("name", ["random_sign", *IN_A_BALL])
def test_a_ball_too_small_to_hold_another_image_leaves_nothing_attacked(
    trained: tuple[Any, Any, Any], name: str
) -> None:
    """In float32, 0.5 + 1e-9 is 0.5; random_sign halves until nothing is left, or is to keep the image."""
    network, images, labels = trained
    network, images = copy.deepcopy(network).float(), images.float().clamp(0.5, 0.9)
    labels = labels_of(network, images)
    given: dict[str, Any] = {**SETTING.get(name, {}), "eps": 1e-9}
    choices: list[dict[str, Any]] = [{"on_label_change": choice} for choice in ("leave", "keep", "halve")]
    for more in choices if name == "random_sign" else [{}]:
        (found,) = ATTACKS[name](network, images, labels, randoms(6), explanation=gradient, **given, **more)
        assert (found.images == images).all()
        assert found.n_accepted.tolist() == [0] * 6


def test_mass_center_starts_at_random_where_nothing_has_moved(network: Any, images: Any) -> None:
    """An explanation that is smooth already leaves no shift between the network and its copy."""
    labels = labels_of(network, images)
    smooth = with_softplus(network)

    def explanation(model: Any, *given: Any, **more: Any) -> Any:
        return gradient(smooth, *given, **more)

    setting: dict[str, Any] = {"explanation": explanation, "eps": 0.1, "step_size": 0.01}
    found = perturbed_by("mass_center", network, images, labels, steps=1, **setting)
    signs = torch.from_numpy(np.stack([np.sign(r.standard_normal((1, 28, 28))) for r in randoms(6)]))
    torch.testing.assert_close(found, (images + 0.01 * signs).clamp(0, 1))
    moves = []
    for name in ("mass_center", "random_walk"):
        perturbed = perturbed_by(
            *(name, network, images, labels), steps=10, acceptance="mass_center_shift", **setting
        )
        moves.append(score_of(network, images, perturbed, labels, explanation, "mass_center_shift").mean())
    assert moves[0] > 2 * moves[1]


@pytest.mark.parametrize("name", IN_A_BALL)
def test_a_map_of_zeros_stays_and_the_others_are_attacked(network: Any, images: Any, name: str) -> None:
    """Integrated gradients of a black image are zero."""
    some = torch.cat([torch.zeros_like(images[:1]), images[2:4]])
    labels = labels_of(network, some)
    found = attack(name, network, some, labels, EXPLAIN["integrated_gradients"], steps=3)
    assert (found[0] == 0).all()
    assert torch.isfinite(found).all()
    assert (found[1:] != some[1:]).flatten(1).any(1).all()


def test_the_gradient_of_a_map_of_zeros_is_zero(network: Any) -> None:
    black = torch.zeros((1, 1, 28, 28), dtype=torch.float64)
    label = labels_of(network, black)

    def loss(at: Any) -> Any:
        return losses.inside(losses.smooth_maps(with_softplus(network), explain, at, label), mask)

    mask, explain = torch.ones((1, 28, 28)), EXPLAIN["integrated_gradients"]
    assert (losses.value_and_gradient(loss, black)[1] == 0).all()


def test_without_a_gradient_directed_attacks_are_refused(network: Any, images: Any) -> None:
    labels = labels_of(network, images)

    def flat(model: Any, x: Any, y: Any, *, differentiable: bool = False) -> Any:
        return gradient(model, x, y)

    for name in set(SETTING) - {"random_walk"}:
        with pytest.raises(ValueError, match="no gradient with respect to the image"):
            attack(name, network, images, labels, flat)
    attack("random_walk", network, images, labels, flat)


def test_target_map_with_infinite_beta_follows_the_network_itself(network: Any, images: Any) -> None:
    seen = []

    def spy(model: Any, *given: Any, **more: Any) -> Any:
        seen.append(model)
        return gradient(model, *given, **more)

    labels = labels_of(network, images)
    attack("target_map", network, images, labels, spy, steps=2, softening=[torch.inf])
    assert all(model is network for model in seen)
    attack("target_map", network, images, labels, spy, steps=2)
    assert sum(model is not network for model in seen) == 2


def test_targets_of_another_shape_are_refused(network: Any, images: Any) -> None:
    with pytest.raises(ValueError, match=r"shape \(6, 28, 28\), got \(6, 14, 14\)"):
        attack("target_map", network, images, labels_of(network, images), targets=torch.ones((6, 14, 14)))


def test_each_attack_takes_these_parameters() -> None:
    steps = {"explanation", "eps", "steps", "step_size", "acceptance"}
    expected = {
        "random_sign": {"eps", "on_label_change"},
        "random_walk": steps,
        "topk": {*steps, "softening", "restarts", "attack_k"},
        "topk_lens": {*steps, "softening", "restarts", "attack_k", "attack_w"},
        "mass_center": {*steps, "softening", "restarts"},
        "target_region": {*steps, "softening", "restarts", "region"},
        "l2_topk": {*steps, "softening", "restarts", "attack_k"},
        **{name: {"severity", "severity_table"} for name in CORRUPTIONS},
    }
    for name, names in expected.items():
        assert keywords(ATTACKS[name].function) == names - {"explanation"}
        assert ATTACKS[name].needs_map == ("explanation" in names)
    assert set(ATTACKS) == {*expected, "target_map"}
    # By SETTING the tests above find the attacks whose guarantees they check.
    assert set(SETTING) == {name for name, attack in ATTACKS.items() if attack.needs_map}


@pytest.mark.parametrize("name", ATTACKS)
def test_records_list_every_parameter_of_the_function(name: str) -> None:
    attack = ATTACKS[name]
    options = [option.name for option in attack.options]
    assert len(set(options)) == len(options)
    assert keywords(attack.function) == {*options, *(["targets"] if attack.needs_targets else [])}
    assert attack.needs_map or not attack.needs_gradient


def keywords(function: Any) -> set[str]:
    parameters = inspect.signature(function).parameters.values()
    return {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}


def test_an_attack_on_maps_without_an_explanation_is_an_error(network: Any, images: Any) -> None:
    labels = labels_of(network, images)
    with pytest.raises(TypeError, match="needs an explanation"):
        ATTACKS["random_walk"](network, images, labels, randoms(6), **STEPS)


def test_published_settings() -> None:
    assert set(published.ATTACKS) == set(DATASETS)
    assert ATTACKS["topk"].published("mnist", "rar_cnn", "gradient", None) == {
        "eps": 0.3,
        "attack_k": 200,
        "steps": 100,
        "step_size": 0.01,
    }
    found = ATTACKS["l2_topk"].published("gtsrb", "small_resnet", "gradient", None)
    assert found == {"attack_k": 100, "steps": 50}


# (dataset, network, explanation, base), and the steps, published learning rate, beta and weights.
TARGET_MAP_TABLES = [
    (("imagenet", "vgg16", "gradient", None), (1500, 1e-3, "10:100", 1e11, 1e6)),
    (("imagenet", "vgg16", "input_x_gradient", None), (1500, 1e-3, "10:100", 1e11, 1e6)),
    (("imagenet", "vgg16", "integrated_gradients", None), (500, 5e-3, "10:100", 1e11, 1e6)),
    (("imagenet", "vgg16", "pattern_attribution", None), (1500, 2e-3, "10:100", 1e11, 1e6)),
    (("imagenet", "densenet121", "lrp", None), (1500, 2e-4, "inf", 1e11, 1e6)),
    (("imagenet", "vgg16", "guided_backprop", None), (1500, 1e-3, "10:100", 1e11, 1e6)),
    (("imagenet", "densenet121", "gradient", None), (2000, 5e-4, "30:300", 1e11, 10)),
    (("imagenet", "alexnet", "gradient", None), (4000, 1e-3, "10:100", 1e11, 10)),
    (("cifar10", "small_resnet", "gradient", None), (1500, 1e-3, "10:100", 1e7, 1e2)),
    (("cifar10", "resnet18", "lrp", None), (1500, 2e-4, "inf", 1e7, 1e2)),
    (("imagenet", "vgg16", "smooth_grad", None), (1500, 3e-3, "10:100", 1e11, 1e6)),
    (("imagenet", "vgg16", "beta_smooth", "gradient"), (500, 2.5e-4, "10:100", 1e11, 1e6)),
    (("imagenet", "vgg16", "beta_smooth", None), (500, 2.5e-4, "10:100", 1e11, 1e6)),
    (("imagenet", "vgg16", "beta_smooth", "integrated_gradients"), (200, 2.5e-3, "10:100", 1e11, 1e6)),
    (("imagenet", "vgg16", "beta_smooth", "lrp"), (1500, 2e-4, "inf", 1e11, 1e6)),
    (("imagenet", "vgg16", "beta_smooth", "guided_backprop"), (500, 5e-4, "10:100", 1e11, 1e6)),
]


@pytest.mark.parametrize(("condition", "values"), TARGET_MAP_TABLES, ids=str)
def test_settings_of_target_map_are_those_of_the_tables(condition: Any, values: Any) -> None:
    steps, rate, beta, map_weight, output_weight = values
    found = ATTACKS["target_map"].published(*condition)
    assert found["steps"] == steps
    assert found["learning_rate"] == pytest.approx(rate * 0.226)
    assert found["softening"] == (softening(beta),)
    assert (found["map_weight"], found["output_weight"]) == (map_weight, output_weight)
    assert found["on_logits"] == (output_weight == 10)
    assert set(found) <= keywords(target_map)


def test_softening_is_read_as_a_number_or_a_growth() -> None:
    assert (softening("3"), softening("inf")) == (3, torch.inf)
    growth = softening("10:100")
    assert growth == Growth(10, 100)
    assert softening(str(Growth(0.125, 1e-7))) == Growth(0.125, 1e-7)
    assert (str(Growth(1, 1e30)), str(Growth(1, 1e6))) == ("1:1e+30", "1:1000000")
    betas = [beta_at(growth, step, 4) for step in range(5)]
    np.testing.assert_allclose(betas, [10, 10**1.25, 10**1.5, 10**1.75, 100])
    assert [beta_at(3.0, step, 4) for step in range(5)] == [3] * 5
    for wrong in ("0", "-1", "nan", "1:inf", "1:2:3", "", "ten", "0:1", ":", "1e39", "1:1e40", "1e-46"):
        with pytest.raises(argparse.ArgumentTypeError, match="must be a number above 0, inf, or two numbers"):
            softening(wrong)


@pytest.mark.parametrize("given", [[], [1.0, Growth(10, 100)]])
def test_target_map_takes_one_softening(network: Any, images: Any, given: Any) -> None:
    with pytest.raises(ValueError, match="--softening of target_map must be one value"):
        attack("target_map", network, images, labels_of(network, images), softening=given)
