"""Attacks that move attribution out of a set of pixels, or into one."""

from collections.abc import Sequence

from .. import published
from ..options import Option, non_negative_integer
from ..softening import Softening
from .acceptance import remaining
from .batch import Batch
from .best import Best, Found
from .iterate import Ball, best_iterate, downhill
from .losses import dilated, inside, region_mask, top_mask
from .record import ACCEPTANCE_METRIC, ATTACK_K, RUNS, STEP_SIZE, STEPS, WALK, Attack


def topk(
    batch: Batch,
    *,
    eps: float,
    steps: int,
    step_size: float,
    attack_k: int,
    acceptance: Sequence[str] = ("kendall",),
    softening: Sequence[Softening] = (1.0,),
    restarts: int | None = None,
) -> tuple[Found, ...]:
    """Remove attribution from the top `attack_k` pixels of the unperturbed map.

    References
    ----------
    Ghorbani, Abid, Zou, "Interpretation of Neural Networks Is Fragile", AAAI 2019, algorithm 1; step size,
    softplus and acceptance by Kendall as in Chen et al., "Robust Attribution Regularization", NeurIPS 2019.
    """
    best = Best(batch, remaining(acceptance))
    target = top_mask(best.unperturbed, attack_k)
    direction = downhill(batch, lambda maps: inside(maps, target))
    ball = Ball(batch.images, eps, "linf")
    return best_iterate(batch, best, ball, direction, steps, step_size, softening, restarts)


def topk_lens(
    batch: Batch,
    *,
    eps: float,
    steps: int,
    step_size: float,
    attack_k: int,
    attack_w: int = 1,
    acceptance: Sequence[str] = ("kendall",),
    softening: Sequence[Softening] = (1.0,),
    restarts: int | None = None,
) -> tuple[Found, ...]:
    """Remove attribution from all pixels within Chebyshev distance `attack_w` of the top `attack_k`.

    References
    ----------
    Kamath et al., "Rethinking Robustness of Model Attributions", AAAI 2024.
    """
    best = Best(batch, remaining(acceptance))
    target = dilated(top_mask(best.unperturbed, attack_k), attack_w)
    direction = downhill(batch, lambda maps: inside(maps, target))
    ball = Ball(batch.images, eps, "linf")
    return best_iterate(batch, best, ball, direction, steps, step_size, softening, restarts)


def l2_topk(
    batch: Batch,
    *,
    eps: float,
    steps: int,
    step_size: float,
    attack_k: int,
    acceptance: Sequence[str] = ("kendall",),
    softening: Sequence[Softening] = (1.0,),
    restarts: int | None = None,
) -> tuple[Found, ...]:
    """Attack like topk, in the l2 ball of radius `eps`; a step has the l2 length `step_size`.

    Certificates of attributions (Wang, Kong, "Certified l2 Attribution Robustness via Uniformly Smoothed
    Attributions", 2024) hold in l2 balls; this attack tries to break them.
    """
    best = Best(batch, remaining(acceptance))
    target = top_mask(best.unperturbed, attack_k)
    direction = downhill(batch, lambda maps: inside(maps, target))
    ball = Ball(batch.images, eps, "l2")
    return best_iterate(batch, best, ball, direction, steps, step_size, softening, restarts)


def target_region(
    batch: Batch,
    *,
    eps: float,
    steps: int,
    step_size: float,
    region: tuple[int, int, int, int],
    acceptance: Sequence[str] = ("kendall",),
    softening: Sequence[Softening] = (1.0,),
    restarts: int | None = None,
) -> tuple[Found, ...]:
    """Move attribution into the rectangle `region`: top, left, height, width in pixels.

    References
    ----------
    Ghorbani, Abid, Zou, "Interpretation of Neural Networks Is Fragile", AAAI 2019, algorithm 1.
    """
    images = batch.images
    target = region_mask(region, (images.shape[2], images.shape[3])).to(images.device)
    best = Best(batch, remaining(acceptance))
    direction = downhill(batch, lambda maps: -inside(maps, target))
    ball = Ball(images, eps, "linf")
    return best_iterate(batch, best, ball, direction, steps, step_size, softening, restarts)


_ATTACK_W = Option(
    "attack_w", "half-width of the window that topk_lens adds; default: 1", non_negative_integer
)
_REGION = Option(
    "region",
    "pixels that target_region moves attribution to",
    int,
    fits=region_mask,
    arguments=(("nargs", 4), ("metavar", ("TOP", "LEFT", "HEIGHT", "WIDTH"))),
)
# Distances between images in the l2 norm may exceed 1. The help is that of the first option of this name.
_L2_EPS = Option("eps", "radius of the l2 ball", above=0)

TOPK = Attack(topk, (*WALK, ATTACK_K, *RUNS))
TOPK_LENS = Attack(topk_lens, (*WALK, ATTACK_K, _ATTACK_W, *RUNS))
TARGET_REGION = Attack(target_region, (*WALK, _REGION, *RUNS))
L2_TOPK = Attack(
    l2_topk,
    (_L2_EPS, STEPS, STEP_SIZE, ACCEPTANCE_METRIC, ATTACK_K, *RUNS),
    published=published.l2_attack,
    norm="l2",
)
