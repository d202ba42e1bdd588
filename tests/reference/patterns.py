"""Patterns and PatternAttribution, slowly: one sample, one place and one neuron at a time, in numpy."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def pattern_of(inputs: Array, outputs: Array, is_open: NDArray[np.bool_] | None, weight: Array) -> Array:
    """The pattern of one neuron from its inputs (sample, input) and outputs (sample).

    Linear estimator without `is_open`, else the two-component one over the samples that are open.
    """
    covariance: Array
    if is_open is None:
        covariance = np.array(
            [np.cov(inputs[:, i], outputs, bias=True)[0, 1] for i in range(inputs.shape[1])]
        )
    else:
        x, y = inputs[is_open], outputs[is_open]
        covariance = (x * y[:, None]).mean(0) - x.mean(0) * outputs.mean()
    result: Array = covariance / (weight @ covariance)
    return result


def patches(images: Array, kernel: int, stride: int, padding: int, dilation: int) -> Iterator[Array]:
    """Every patch of images (sample, channel, height, width), flat, by sample, row and column."""
    reach = dilation * (kernel - 1) + 1
    for image in np.pad(images, ((0, 0), (0, 0), (padding, padding), (padding, padding))):
        for row in range(0, image.shape[1] - reach + 1, stride):
            for column in range(0, image.shape[2] - reach + 1, stride):
                cut = image[:, row : row + reach : dilation, column : column + reach : dilation]
                yield cut.reshape(-1)


def convolution_patterns(
    images: Array,
    outputs: Array,
    is_open: NDArray[np.bool_] | None,
    weight: Array,
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    groups: int = 1,
) -> Array:
    """The patterns of a convolution from its inputs, outputs and, at each place, whether its ReLU is open."""
    result = np.empty_like(weight)
    n_out, n_in, kernel, _ = weight.shape
    for neuron in range(n_out):
        first = neuron // (n_out // groups) * n_in
        of_group = images[:, first : first + n_in]
        inputs = np.array(list(patches(of_group, kernel, stride, padding, dilation)))
        gate = None if is_open is None else is_open[:, neuron].reshape(-1)
        pattern = pattern_of(inputs, outputs[:, neuron].reshape(-1), gate, weight[neuron].reshape(-1))
        result[neuron] = pattern.reshape(weight[neuron].shape)
    return result


def attribution(layers: list[tuple[Any, Any]], gates: list[Array], label: int) -> Array:
    """PatternAttribution of one sample by layers (weight, pattern) and slopes of activations between them."""
    relevance = np.zeros(len(layers[-1][0]))
    relevance[label] = 1
    for (weight, pattern), gate in zip(layers[::-1], [*gates[::-1], None], strict=True):
        relevance = np.array(
            [
                sum(weight[j, i] * pattern[j, i] * relevance[j] for j in range(len(weight)))
                for i in range(weight.shape[1])
            ]
        )
        relevance = relevance if gate is None else relevance * gate
    return relevance
