"""Weights without a file: those that a word given as ``--checkpoint`` stands for."""

import hashlib
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import nn

from ..names import is_own
from ..splits import Dataset
from . import models

# The best weights that torchvision has for the model, which it downloads if they are missing.
TORCHVISION = "torchvision"
# The weights of the network that a factory of one's own returns.
FACTORY = "factory"


def of_torchvision(model: str, dataset: str, classes: Dataset) -> tuple[nn.Module, str]:
    """Return torchvision's network with its own weights, and their hash.

    Raises
    ------
    ValueError
        If it has none for this model and this dataset.
    """
    if is_own(model):
        raise ValueError(
            f"torchvision has no weights for {model}; give a file of weights as --checkpoint, or the word "
            f"{FACTORY}"
        )
    if model in models.MODELS:
        raise ValueError(f"torchvision has no weights for {model}; train it with generators.train")
    library = models.torchvision_models()
    weights = library.get_model_weights(model).DEFAULT
    n_classes = len(weights.meta["categories"])
    if not classes.fits(n_classes):
        raise ValueError(
            f"torchvision's weights of {model} are for {n_classes} classes, but {dataset} has "
            f"{classes.n_classes}; use them with imagenet, or a folder whose labels.csv has its class indices"
        )
    network = library.get_model(model, weights=weights)
    preset = weights.transforms()
    digest = sha256(network)
    return models.normalized(models.Normalize(preset.mean, preset.std), network), digest


def of_factory(model: str, dataset: str, classes: Dataset) -> tuple[nn.Module, str]:
    """Return the network of one's own factory as it is, and the hash of its weights.

    Raises
    ------
    ValueError
        If the model is not one's own.
    """
    if not is_own(model):
        raise ValueError(
            f"--checkpoint {FACTORY} stands for the weights of a --model package.module:factory, and {model} "
            "is none; give a file"
        )
    network = models.build(model, classes.n_classes)
    return network, sha256(network)


@lru_cache(maxsize=8)  # a sweep asks for each of its files
def factory_sha256(model: str, n_classes: int) -> str:
    """Return the hash of the weights that a factory of one's own returns now."""
    return sha256(models.build(model, n_classes))


def sha256(network: nn.Module) -> str:
    """Return the SHA-256 of the weights in the order of their names."""
    digest = hashlib.sha256()
    for _, value in sorted(network.state_dict().items()):
        digest.update(value.cpu().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


WORDS: dict[str, Callable[[str, str, Dataset], tuple[nn.Module, str]]] = {
    TORCHVISION: of_torchvision,
    FACTORY: of_factory,
}
