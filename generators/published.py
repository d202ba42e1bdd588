"""Every constant that comes from a paper, by dataset and method, with its source.

Sources
-------
RAR
    Chen et al., "Robust Attribution Regularization", NeurIPS 2019, section 5 and the released configurations.
Ghorbani
    Ghorbani, Abid, Zou, "Interpretation of Neural Networks Is Fragile", AAAI 2019.
Madry
    Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018.
Dombrowski
    Dombrowski et al., "Explanations can be manipulated and geometry is to blame", NeurIPS 2019, supplement.
ART
    Sarkar, Sarkar, Balasubramanian, "Enhanced Regularizers for Attributional Robustness", AAAI 2021.
ImageNet-C
    Hendrycks, Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations",
    ICLR 2019, and the released code: make_imagenet_c.py and make_cifar_c.py.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from .rates import Rates
from .softening import Growth, Softening


@dataclass(frozen=True)
class AttackSettings:
    """Radius, number of pixels attacked, number of steps and step size in the l_inf ball."""

    eps: float
    attack_k: int
    steps: int
    step_size: float


@dataclass(frozen=True)
class PGD:
    """Sign steps in the l_inf ball of radius `eps` around images in [0, 1]."""

    eps: float
    steps: int
    step_size: float


@dataclass(frozen=True)
class Settings(PGD):
    """The inner loop of a training regime, and what regimes on integrated gradients need in addition.

    Attributes
    ----------
    n_points, inner_n_points
        Points of integrated gradients in the loss and in the inner loop.
    weight
        Weight of the attribution term: lambda or beta in the papers.
    chunk_size
        Number of images in one pass of the network that keeps a graph for second derivatives. One sample with
        all its points is never split. On a CPU 50 to 500 are equally fast.
    jitter
        Whether each point is drawn anew from its part of the path, instead of the part's end.
    eps_ramp
        Number of training steps in which the ball and the steps in it grow to their size.
    """

    n_points: int
    inner_n_points: int
    weight: float
    chunk_size: int = 250
    jitter: bool = False
    eps_ramp: int = 0


@dataclass(frozen=True)
class Optimizer:
    """How the weights follow the gradient.

    Attributes
    ----------
    name
        ``adam``, or ``sgd`` with momentum.
    learning_rate
        A number, or text as of ``rates.learning_rate``.
    momentum, weight_decay
        Of sgd; None for adam. Weights of layers decay; biases and the scales of batch norm do not.
    """

    name: str
    learning_rate: Rates
    momentum: float | None = None
    weight_decay: float | None = None


# RAR takes adam for mnist and fashion_mnist, sgd for gtsrb and flower17. (There rates change one step later.)
OPTIMIZERS = {
    "adam": Optimizer("adam", 1e-4),
    "sgd": Optimizer("sgd", "0.001,0.01@500,0.001@60000", momentum=0.9, weight_decay=2e-4),
}


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of training on a dataset.

    Attributes
    ----------
    pgd
        The inner loop. The PGD accuracy of every checkpoint is measured with it as well.
    batch_size, n_points, inner_n_points
        Samples per batch; points of integrated gradients in the loss and in the inner loop.
    weights
        Weight of the attribution term, by regime.
    sgd_rates
        Learning rate of sgd in regimes where it is not that of `OPTIMIZERS`.
    """

    pgd: PGD
    batch_size: int
    inner_n_points: int
    weights: Mapping[str, float]
    n_points: int = 50
    sgd_rates: Mapping[str, Rates] = field(default_factory=dict)


# Steps on images of three channels, for all datasets that have them.
_COLOUR = PGD(eps=8 / 255, steps=7, step_size=2 / 255)

# RAR. Its released code takes every fifth of the 50 points in the inner loop of mnist and fashion_mnist,
# every tenth in that of gtsrb and flower17. The weights of art are ART's, and so is its rate for flower17.
# cifar10, which RAR does not train: batch size and inner loop are Madry's; points and weights are those of
# gtsrb, whose images have the same size.
TRAINING = {
    "mnist": TrainingSettings(
        PGD(eps=0.3, steps=40, step_size=0.01), 50, 10, {"ig_norm": 1.0, "ig_sum_norm": 0.1, "art": 0.1}
    ),
    "fashion_mnist": TrainingSettings(
        PGD(eps=0.1, steps=20, step_size=0.01), 50, 10, {"ig_norm": 1.0, "ig_sum_norm": 0.1, "art": 0.1}
    ),
    "gtsrb": TrainingSettings(_COLOUR, 64, 5, {"ig_norm": 1.0, "ig_sum_norm": 1.0, "art": 0.1}),
    "flower17": TrainingSettings(
        _COLOUR,
        16,
        5,
        {"ig_norm": 0.1, "ig_sum_norm": 0.1, "art": 0.1},
        sgd_rates={
            "ig_norm": "0.0001,0.001@500,0.0001@60000",
            "ig_sum_norm": "0.0001,0.001@500,0.0001@60000",
            "art": "0.0001,0.0003@500,0.0001@60000",
        },
    ),
    "cifar10": TrainingSettings(_COLOUR, 128, 5, {"ig_norm": 1.0, "ig_sum_norm": 1.0, "art": 0.1}),
}

# RAR; imagenet: Ghorbani's steps. Neither attacks cifar10: it takes the values of gtsrb, whose images have
# the same size.
ATTACKS = {
    "mnist": AttackSettings(eps=0.3, attack_k=200, steps=100, step_size=0.01),
    "fashion_mnist": AttackSettings(eps=0.1, attack_k=100, steps=100, step_size=0.01),
    "gtsrb": AttackSettings(eps=8 / 255, attack_k=100, steps=50, step_size=1 / 255),
    "flower17": AttackSettings(eps=8 / 255, attack_k=1000, steps=100, step_size=1 / 255),
    "cifar10": AttackSettings(eps=8 / 255, attack_k=100, steps=50, step_size=1 / 255),
    "imagenet": AttackSettings(eps=8 / 255, attack_k=1000, steps=300, step_size=0.5 / 255),
}

# Dombrowski's code steps in images divided by the standard deviations of ImageNet's channels: the published
# learning rates times the mean of these are steps in [0, 1].
PIXEL = 0.226


@dataclass(frozen=True)
class TargetMapSettings:
    """Settings of target_map, whose parameters have these names.

    Maps sum to 1, so their mean squared error falls with the fourth power of the image's width. The published
    weights do not make up for that: 1e11 to 1e6 at 224x224 and 1e7 to 1e2 at 32x32 have the same ratio, and
    Adam steps by the ratio alone. So they are taken as they are for every image size.
    """

    steps: int
    learning_rate: float
    softening: tuple[Softening] = (Growth(10, 100),)
    map_weight: float = 1e11
    output_weight: float = 1e6
    on_logits: bool = False


# Dombrowski, by explanation for VGG-16; smooth_grad: table 4. Explanations that are not listed take the
# values of the gradient.
TARGET_MAP_BY_EXPLANATION = {
    "gradient": TargetMapSettings(1500, 1e-3 * PIXEL),
    "integrated_gradients": TargetMapSettings(500, 5e-3 * PIXEL),
    "lrp": TargetMapSettings(1500, 2e-4 * PIXEL, softening=(math.inf,)),
    "guided_backprop": TargetMapSettings(1500, 1e-3 * PIXEL),
    "pattern_attribution": TargetMapSettings(1500, 2e-3 * PIXEL),
    "smooth_grad": TargetMapSettings(1500, 3e-3 * PIXEL),
}
# Dombrowski, table 5: beta smoothing by the explanation that is smoothed. One that is not listed takes its
# values above, or else those of the gradient here.
TARGET_MAP_BY_BASE = {
    "gradient": TargetMapSettings(500, 2.5e-4 * PIXEL),
    "integrated_gradients": TargetMapSettings(200, 2.5e-3 * PIXEL),
    "lrp": TargetMapSettings(1500, 2e-4 * PIXEL, softening=(math.inf,)),
    "guided_backprop": TargetMapSettings(500, 5e-4 * PIXEL),
}
# Dombrowski, by network for the gradient.
TARGET_MAP_BY_MODEL = {
    "alexnet": TargetMapSettings(4000, 1e-3 * PIXEL, output_weight=10.0, on_logits=True),
    "resnet18": TargetMapSettings(2000, 1e-3 * PIXEL, output_weight=10.0, on_logits=True),
    "densenet121": TargetMapSettings(
        2000, 5e-4 * PIXEL, (Growth(30, 300),), output_weight=10.0, on_logits=True
    ),
}
# Dombrowski, table 3: the weights for CIFAR-10, whatever the explanation and the network.
TARGET_MAP_WEIGHTS = {"cifar10": {"map_weight": 1e7, "output_weight": 1e2, "on_logits": False}}

# Parameters of an explanation by whose form it has. Dombrowski: get_expl in nn/utils.py of the released code.
BY_FORM: Mapping[str | None, Mapping[str, Any]] = {"dombrowski": {"n_points": 30}}

# ImageNet-C: what severities 1 to 5 of each corruption mean, for images of 224x224 and of 32x32.
SEVERITIES: Mapping[str, Mapping[str, tuple[Any, ...]]] = {
    "imagenet_c": {
        "gaussian_noise": (0.08, 0.12, 0.18, 0.26, 0.38),
        "shot_noise": (60, 25, 12, 5, 3),
        "impulse_noise": (0.03, 0.06, 0.09, 0.17, 0.27),
        "gaussian_blur": (1, 2, 3, 4, 6),
        "defocus_blur": ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
        "brightness": (0.1, 0.2, 0.3, 0.4, 0.5),
        "contrast": (0.4, 0.3, 0.2, 0.1, 0.05),
        "jpeg_compression": (25, 18, 15, 10, 7),
    },
    "cifar10_c": {
        "gaussian_noise": (0.04, 0.06, 0.08, 0.09, 0.1),
        "shot_noise": (500, 250, 100, 75, 50),
        "impulse_noise": (0.01, 0.02, 0.03, 0.05, 0.07),
        "gaussian_blur": (0.4, 0.6, 0.7, 0.8, 1),
        "defocus_blur": ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
        "brightness": (0.05, 0.1, 0.15, 0.2, 0.3),
        "contrast": (0.75, 0.5, 0.4, 0.3, 0.15),
        "jpeg_compression": (80, 65, 58, 50, 40),
    },
}
# The table made for the size that is nearest to that of the dataset's images, as a ratio.
SEVERITY_TABLES = {
    "mnist": "cifar10_c",
    "fashion_mnist": "cifar10_c",
    "gtsrb": "cifar10_c",
    "cifar10": "cifar10_c",
    "flower17": "imagenet_c",
    "imagenet": "imagenet_c",
}


def linf_attack(dataset: str, model: str, explanation: str, base: str | None) -> Mapping[str, Any]:
    """Return the published parameters of an attack by sign steps, by name; none for other datasets."""
    return asdict(ATTACKS[dataset]) if dataset in ATTACKS else {}


def l2_attack(dataset: str, model: str, explanation: str, base: str | None) -> Mapping[str, Any]:
    """Return those published parameters that do not belong to the l_inf ball."""
    found = linf_attack(dataset, model, explanation, base)
    return {name: found[name] for name in ("attack_k", "steps") if name in found}


def target_map(dataset: str, model: str, explanation: str, base: str | None) -> Mapping[str, Any]:
    """Return the published parameters of target_map, by name.

    `base` is the explanation that `explanation` smooths. Those of a network are for ImageNet's images.
    """
    if explanation == "beta_smooth":
        smoothed = {**TARGET_MAP_BY_EXPLANATION, **TARGET_MAP_BY_BASE}
        found = smoothed.get(base or "gradient", TARGET_MAP_BY_BASE["gradient"])
    elif explanation == "gradient" and model in TARGET_MAP_BY_MODEL:
        found = TARGET_MAP_BY_MODEL[model]
    else:
        found = TARGET_MAP_BY_EXPLANATION.get(explanation, TARGET_MAP_BY_EXPLANATION["gradient"])
    return {**vars(found), **TARGET_MAP_WEIGHTS.get(dataset, {})}


def severity_table(dataset: str, model: str, explanation: str, base: str | None) -> Mapping[str, Any]:
    """Return the table of severities for the size of the dataset's images, if it is known."""
    return {"severity_table": SEVERITY_TABLES[dataset]} if dataset in SEVERITY_TABLES else {}


def regime(dataset: str, training_regime: str) -> Settings:
    """Return the settings of a regime on a dataset of ``TRAINING``; the weight is 0 where it has no term."""
    found = TRAINING[dataset]
    return Settings(
        **asdict(found.pgd),
        n_points=found.n_points,
        inner_n_points=found.inner_n_points,
        weight=found.weights.get(training_regime, 0.0),
    )


def optimizer(name: str, dataset: str, training_regime: str) -> Optimizer:
    """Return the published settings of an optimizer for a dataset and a regime."""
    found = OPTIMIZERS[name]
    if name == "sgd" and dataset in TRAINING:
        rate = TRAINING[dataset].sgd_rates.get(training_regime, found.learning_rate)
        return replace(found, learning_rate=rate)
    return found
