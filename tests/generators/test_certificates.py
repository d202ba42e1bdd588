"""Maps of uniform_smooth keep the certificate of Wang and Kong: on trained networks, and where it is tight.

Definitions: h is the mean of unit maps over the ball of radius b; rho the part of one ball outside of another
at distance eps. Of h and h' at two such centers, cos >= sqrt(1 - (2 rho / norm h)^2), and of non-negative
maps cos >= sqrt(1 - 2 (rho / norm h)^2). Estimates of n draws are within tau of h, except with probability
alpha; so the cosine of two estimates is at least ``least_cosine``.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import betainc, betaincinv
from torch import nn

from generators.explanations import uniform_smooth
from generators.plan import Plan, plan

Array = NDArray[np.float64]
SIDE = 6
DIM = SIDE**2
RADIUS = 3.0
ALPHA = 0.05


def part_outside(eps: Any) -> Any:
    """Rho: the part of a ball of RADIUS that is not in the one at distance `eps`."""
    return betainc(0.5, (DIM + 1) / 2, (eps / (2 * RADIUS)) ** 2)


def error_of_estimates(n_draws: int, n_estimates: int) -> float:
    """Tau: all of these estimates are this near to their h, except with probability ALPHA."""
    return float((1 + np.sqrt(2 * np.log(n_estimates / ALPHA))) / np.sqrt(n_draws))


def certified_angle(norm: Any, rho: Any, nonnegative: bool) -> Any:
    factor = 2 if nonnegative else 4
    return np.arccos(np.sqrt(np.clip(1 - factor * (rho / norm) ** 2, 0, 1)))


def least_cosine(one: Array, other: Array, rho: Any, tau: float, nonnegative: bool) -> Any:
    """The cosine below which no two estimates (sample, pixel) of maps that keep the certificate fall."""
    norm, norm_of_other = (np.linalg.norm(maps, axis=1) for maps in (one, other))
    assert (norm > tau).all()
    assert (norm_of_other > tau).all()
    angle = (
        certified_angle(norm - tau, rho, nonnegative) + np.arcsin(tau / norm) + np.arcsin(tau / norm_of_other)
    )
    return np.cos(np.minimum(angle, np.pi))


def cosines(one: Array, other: Array) -> Any:
    return (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)


def images_of(labels: Any, random: np.random.Generator) -> Any:
    """Noise with one bright quadrant, by the label."""
    images = random.uniform(0, 0.6, (len(labels), 1, SIDE, SIDE))
    for image, label in zip(images, labels.tolist(), strict=True):
        row, column = 3 * (label // 2), 3 * (label % 2)
        image[0, row : row + 3, column : column + 3] += 0.4
    return torch.from_numpy(images).float()


@pytest.fixture(scope="module")
def trained() -> Any:
    """A small network with ReLUs that classifies such images; thousands of its maps take seconds."""
    random = np.random.default_rng(3)
    labels = torch.from_numpy(random.integers(0, 4, 400))
    images = images_of(labels, random)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(DIM, 24), nn.ReLU(), nn.Linear(24, 4))
    for weights in network.parameters():
        nn.init.normal_(weights)  # large ones, for a rough network: the gradient differs in the ball
    adam = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(100):
        adam.zero_grad()
        loss: Any = nn.functional.cross_entropy(network(images), labels)
        loss.backward()
        adam.step()
    return network.eval().requires_grad_(False)


def planned(reduction: str, n_draws: int, eps: float) -> Plan:
    given = {"n_draws": n_draws, "radius": RADIUS, "reduction": reduction, "independent_draws": True}
    given |= {"eps": eps, "steps": 4, "step_size": eps / 2, "attack_k": 6, "attack_n_draws": 16}
    return plan("uniform_smooth", "l2_topk", dataset="none", model="none", given=given, chunk_size=4000)


def flat(maps: torch.Tensor) -> Array:
    return maps.double().flatten(1).numpy()


@pytest.mark.parametrize(("reduction", "eps"), [("abs_sum", (0.06, 0.2)), ("sum", (0.03, 0.1))])
def test_no_perturbation_falls_below_the_bound(
    trained: Any, reduction: str, eps: tuple[float, float]
) -> None:
    """Random directions, to the border of the ball, and what l2_topk finds in it."""
    n_images, n_random, n_draws = 50, 14, 4000
    random = np.random.default_rng(5)
    labels = torch.from_numpy(random.integers(0, 4, n_images))
    images = images_of(labels, random)
    is_correct = trained(images).argmax(1) == labels
    images, labels = images[is_correct], labels[is_correct]
    samples = np.arange(len(images))
    assert len(images) > 0.9 * n_images
    tau = error_of_estimates(n_draws, len(images) * (1 + 2 * (n_random + 1)))
    one = flat(planned(reduction, n_draws, eps[0]).explain(samples)(trained, images, labels))
    assert (one.min() >= 0) == (reduction == "abs_sum")
    allowed, found = [], []
    for radius in eps:
        work = planned(reduction, n_draws, radius)
        (attacked,) = work.perturb(trained, images, labels, samples=samples)
        assert (attacked.n_accepted > 0).mean() > 0.9
        directions = random.standard_normal((n_random, *images.shape))
        lengths = np.sqrt(np.square(directions).sum((2, 3, 4), keepdims=True))
        noise = torch.from_numpy(radius * directions / lengths).float()
        for number, perturbed in enumerate((attacked.images, *(images + noise))):
            distance = flat(perturbed - images)
            rho = part_outside(np.linalg.norm(distance, axis=1))
            other = flat(work.explain_perturbed(samples + 1000 * number)(trained, perturbed, labels))
            allowed.append(least_cosine(one, other, rho, tau, reduction == "abs_sum"))
            found.append(cosines(one, other))
    assert np.size(found) > 1300
    assert np.median(allowed) > 0.9
    assert (np.array(found) >= np.array(allowed)).all()


class Regions(nn.Module):
    """A network whose gradient is one of three maps: in both balls, in the first alone, elsewhere."""

    def __init__(self, centers: Sequence[torch.Tensor], maps: Array) -> None:
        super().__init__()
        self.centers = centers
        self.maps = torch.from_numpy(maps).float().reshape(3, 1, SIDE, SIDE)

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        first, second = ((points - one).flatten(1).norm(dim=1) <= RADIUS for one in self.centers)
        kind = torch.where(first & second, 0, torch.where(first, 1, 2))
        return (self.maps[kind] * points).flatten(1).sum(1, keepdim=True)


def tight_maps(rho: float, nonnegative: bool) -> Array:
    """Unit maps of three regions (both balls, the first alone, the second alone) that use up the bound.

    Signed: u and -u outside of the intersection, and in it a map that makes h' orthogonal to h - h'.
    """
    if nonnegative:
        return np.eye(3, DIM)[[2, 0, 1]]
    along = rho / (1 - rho)
    both = np.zeros(DIM)
    both[:2] = along, np.sqrt(1 - along**2)
    outside = np.eye(1, DIM)[0]
    return np.stack([both, outside, -outside])


@pytest.mark.parametrize("nonnegative", [True, False])
def test_a_bound_with_half_of_rho_is_broken_by_maps_that_use_it_up(nonnegative: bool) -> None:
    n_draws, rho = 20_000, 0.25
    eps = 2 * RADIUS * np.sqrt(betaincinv(0.5, (DIM + 1) / 2, rho))
    assert part_outside(eps) == pytest.approx(rho)
    maps = tight_maps(rho, nonnegative)
    exact = (1 - rho) * maps[0] + rho * maps[1], (1 - rho) * maps[0] + rho * maps[2]
    cosine = cosines(exact[0][None], exact[1][None])[0]
    bound = np.cos(certified_angle(np.linalg.norm(exact[0]), rho, nonnegative))
    assert bound * (1 - 1e-12) <= cosine < 1.01 * bound

    random = np.random.default_rng(2)
    directions = random.standard_normal((8, 1, 1, SIDE, SIDE))
    tau = error_of_estimates(n_draws, 2 * len(directions))
    estimates: tuple[list[Array], list[Array]] = ([], [])
    for number, direction in enumerate(directions):
        offset = torch.from_numpy(eps * direction / np.sqrt(np.square(direction).sum())).float()
        centers = torch.full_like(offset, 0.5), 0.5 + offset
        network = Regions(centers, maps)
        for which, image in enumerate(centers):
            reduction = "abs_sum" if nonnegative else "sum"
            draws: dict[str, Any] = {"seeds": [(number, which)], "n_draws": n_draws, "chunk_size": 5000}
            label = torch.zeros(1, dtype=torch.long)
            h = uniform_smooth(network, image, label, radius=RADIUS, reduction=reduction, **draws)
            estimates[which].append(flat(h)[0])
            assert np.linalg.norm(estimates[which][-1] - exact[which]) < tau
    one, other = map(np.stack, estimates)
    found = cosines(one, other)
    assert (found >= least_cosine(one, other, rho, tau, nonnegative)).all()
    assert (found < least_cosine(one, other, rho / 2, tau, nonnegative)).all()
