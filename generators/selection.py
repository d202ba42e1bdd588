"""The samples of a split that a pair file contains: the first that the network classifies correctly."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from .datasets import Split, inputs_of


def first_correct(
    network: nn.Module, split: Split, n_samples: int, dtype: torch.dtype, device: torch.device
) -> tuple[NDArray[np.int64], int]:
    """Return the indices of the first `n_samples` correct ones, and how many samples were examined.

    Samples are examined in dataset order, or one of each class in turn if the split is sorted by class.

    Raises
    ------
    ValueError
        If fewer samples are classified correctly.
    """
    order = visiting_order(split.labels)
    height, width = split.shape
    at_once = max(1, min(2**20 // (height * width), 2 * n_samples))  # most are correct
    found: list[int] = []
    for start in range(0, len(order), at_once):
        part = order[start : start + at_once]
        images = inputs_of(split.images[part], dtype, device)
        found.extend(start + np.flatnonzero(predictions(network, images) == split.labels[part]))
        if len(found) >= n_samples:
            return order[found[:n_samples]], found[n_samples - 1] + 1
    if not found:
        raise ValueError(
            f"none of the {len(split.labels)} test samples is classified correctly: the network is not "
            "trained for them, or numbers its classes otherwise than the dataset (class folders in the order "
            "of their names, or class_index in labels.csv)"
        )
    raise ValueError(
        f"--samples {n_samples}: only {len(found)} of the {len(split.labels)} test samples are classified "
        "correctly; ask for at most that many"
    )


def visiting_order(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return all positions in rising order; if labels are sorted, one of each class in turn instead."""
    positions = np.arange(len(labels))
    if len(labels) == 0 or (np.diff(labels) < 0).any():
        return positions
    starts = np.searchsorted(labels, labels)  # where the class of each sample begins
    return np.lexsort((labels, positions - starts))


def predictions(network: nn.Module, images: torch.Tensor) -> NDArray[np.int64]:
    """Return the predicted class of each image."""
    with torch.no_grad():
        result: NDArray[np.int64] = network(images).argmax(1).cpu().numpy()
    return result
