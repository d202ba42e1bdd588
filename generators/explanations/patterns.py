"""Patterns: for each linear and convolution layer, the direction of its signal, estimated from data.

A neuron computes y = w x + b. Of its input x, the signal s carries what y is about, and the filter w cancels
the rest, the distractor. So w says little about the signal; its direction is the pattern a, with w a = 1 and
s = a y. It is estimated from the inputs x and outputs y of the layer over many images:

linear
    a = cov(x, y) / (w cov(x, y)), for neurons without a ReLU, such as those of logits.
two_component
    a = (E+[x y] - E+[x] E[y]) / (w (E+[x y] - E+[x] E[y])), for neurons before a ReLU. E+ is the mean over
    the inputs for which the ReLU is open, E the mean over all.

Both find the signal where the distractor does not depend on it; the second one if the distractor has the
mean 0. A convolution is a neuron at each place, whose inputs are patches. Biases cancel in both estimators;
they count where the ReLU opens. Batch norm after a layer counts there too, and changes nothing else: its
scale divides a and multiplies w.

References
----------
Kindermans et al., "Learning how to explain neural networks: PatternNet and PatternAttribution", ICLR 2018:
the estimators S_a and S_a+-. Dombrowski et al., "Explanations can be manipulated and geometry is to blame",
NeurIPS 2019, take them likewise (pankessel/adv_explanation_ref).
"""

import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from ..calls import first_line
from ..networks.activations import Tracer
from ..networks.kinks import SoftReLU
from ..networks.models import Normalize
from .pattern_sums import PatternSums
from .rules import MAX_POOLS
from .steps import RESHAPING, RESHAPING_CALLS, sizes

# The buffer of a layer that holds its weights times its pattern.
SIGNAL = "signal_weight"

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
_BETWEEN = (*BATCH_NORMS, nn.Dropout, nn.Identity)
_KNOWN = (
    *(nn.Conv2d, nn.Linear, nn.ReLU, SoftReLU, Normalize, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Dropout2d),
    *(*BATCH_NORMS, *MAX_POOLS, *RESHAPING),
)
_KNOWN_CALLS = (
    *(operator.add, operator.iadd, torch.add, "add", torch.cat, torch.mean, "mean", *RESHAPING_CALLS),
    *(functional.adaptive_avg_pool2d, functional.avg_pool2d, functional.max_pool2d, functional.dropout),
)


@dataclass(frozen=True)
class Patterns:
    """Patterns of a network and what is known of them.

    Attributes
    ----------
    values
        The pattern of each layer by its name, float64 of the shape of its weights. That of a neuron that
        never varies, or whose ReLU never opens, is 0.
    estimators
        By the same names: ``linear`` or ``two_component``.
    undefined
        By the same names: the number of neurons whose pattern is 0 for that reason.
    n_samples
        The number of images.
    """

    values: Mapping[str, torch.Tensor]
    estimators: Mapping[str, str]
    undefined: Mapping[str, int]
    n_samples: int


def fit_patterns(model: nn.Module, batches: Iterable[torch.Tensor]) -> Patterns:
    """Estimate the patterns of a network in one pass over batches of images.

    Parameters
    ----------
    model
        A network as ``networks.activations.prepare`` returns it. It is not changed.
    batches
        Images (sample, channel, height, width) in [0, 1], of the type of the network. Their grouping does not
        matter, apart from rounding.

    Returns
    -------
    Patterns
        Those of all linear and convolution layers. Sums are in float64, of outputs less their mean in the
        first batch, and take twice the memory of the weights, however many images there are.

    Raises
    ------
    ValueError
        If the network cannot be traced, has a step for which there is no rule, or gives NaN or infinity, or
        there are no images.

    Examples
    --------
    The first input is s + d, the second d. The filter (1, -1) finds s, whose pattern is (1, 0):

    >>> s, d = torch.randn(2, 100_000, dtype=torch.float64)
    >>> layer = nn.Linear(2, 1, bias=False).double()
    >>> _ = layer.weight.data.copy_(torch.tensor([[1.0, -1.0]]))
    >>> model = nn.Sequential(nn.Flatten(), layer).eval().requires_grad_(False)
    >>> found = fit_patterns(model, [torch.stack([s + d, d], 1)[:, None, None]])
    >>> found.values["1"].shape, found.estimators, abs(float(found.values["1"][0, 1])) < 0.1
    (torch.Size([1, 2]), {'1': 'linear'}, True)
    """
    traced = trace(model)
    observer = _Observer(traced)
    n_samples = 0
    with torch.no_grad():
        for images in batches:
            if len(images):
                observer.run(images)
            n_samples += len(images)
    if not n_samples:
        raise ValueError("patterns are estimated from images, and there are none; give at least one")
    found = {name: sums.pattern() for name, sums in observer.sums.items()}
    for name, (pattern, _) in found.items():
        if not pattern.isfinite().all():
            raise ValueError(
                f"{name} of {type(model).__name__} gives numbers that are not finite for these images, so it "
                "has no pattern; look at the weights and the images"
            )
    return Patterns(
        {name: pattern for name, (pattern, _) in found.items()},
        observer.estimators,
        {name: undefined for name, (_, undefined) in found.items()},
        n_samples,
    )


def attach_patterns(model: nn.Module, values: Mapping[str, torch.Tensor]) -> None:
    """Give each layer of a network its pattern, for ``pattern_attribution``; smooth copies have them too.

    Where weights change afterwards, fit and attach again.

    Raises
    ------
    ValueError
        If a layer has none, or one of another shape, or there are patterns of other layers.
    """
    layers = layers_of(model)
    expected = {name: tuple(layer.weight.shape) for name, layer in layers.items()}
    shapes = {name: tuple(value.shape) for name, value in values.items()}
    faults = [
        f"{name} has weights {shape} and a pattern {shapes[name]}"
        for name, shape in expected.items()
        if name in shapes and shapes[name] != shape
    ]
    faults += [f"{name} has no pattern" for name in expected if name not in shapes]
    faults += [f"there is no layer {name}" for name in shapes if name not in expected]
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise ValueError(
            f"the patterns do not fit {type(model).__name__}: {faults[0]}{more}; fit them to this network"
        )
    for name, layer in layers.items():
        product = layer.weight.detach() * values[name].to(layer.weight)
        layer.register_buffer(SIGNAL, product, persistent=False)


def layers_of(model: nn.Module) -> dict[str, Any]:
    """Return the linear and convolution layers through which images pass, by their names."""
    traced = trace(model)
    return {str(node.target): _module(traced, node) for node in gates(traced)}


def trace(model: nn.Module) -> fx.GraphModule:
    """Return the traced network, which shares the modules of `model`.

    Raises
    ------
    ValueError
        If it cannot be traced, or has a step without a rule.
    """
    name = type(model).__name__
    try:
        traced = fx.GraphModule(model, Tracer().trace(model))
    except Exception as error:  # the network's code may fail in any way on fx's proxies
        raise ValueError(
            f"pattern_attribution cannot trace {name} ({first_line(error)}); use another explanation, or a "
            "network whose control flow does not depend on the images"
        ) from error
    of_sizes = sizes(traced.graph)
    for node in traced.graph.nodes:
        if node.op in ("placeholder", "output") or node in of_sizes:
            continue
        module = traced.get_submodule(str(node.target)) if node.op == "call_module" else None
        if not (_has_rule(module) if module is not None else node.target in _KNOWN_CALLS):
            kind = f" ({type(module).__name__})" if module is not None else ""
            raise ValueError(
                f"pattern_attribution has no rule for {node.name}{kind} of {name}: it knows linear layers "
                "and convolutions padded with zeros, whose weights are parameters, batch norm, ReLU, "
                "pooling, additions and concatenations; use another explanation or network"
            )
    return traced


def _has_rule(module: nn.Module) -> bool:
    if isinstance(module, nn.Conv2d | nn.Linear):
        is_plain = type(module) in (nn.Conv2d, nn.Linear) and "weight" in module._parameters
        is_padded_otherwise = isinstance(module, nn.Conv2d) and (
            module.padding_mode != "zeros" or isinstance(module.padding, str)
        )
        return is_plain and not is_padded_otherwise
    return isinstance(module, _KNOWN)


def gates(traced: fx.GraphModule) -> dict[fx.Node, fx.Node | None]:
    """Return for each use of a layer the step whose output opens its ReLU, or None.

    It is None for each use of a layer of which one has no ReLU.
    """
    found = {
        node: _gate(traced, node)
        for node in traced.graph.nodes
        if isinstance(_module(traced, node), nn.Conv2d | nn.Linear)
    }
    without = {node.target for node, gate in found.items() if gate is None}
    return {node: None if node.target in without else gate for node, gate in found.items()}


def _module(traced: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    return traced.get_submodule(str(node.target)) if node.op == "call_module" else None


def _gate(traced: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """Return the step before the ReLU that alone reads the output of `node`; None if there is none."""
    gate, is_pooled = node, False
    while len(node.users) == 1:
        (node,) = node.users
        module = _module(traced, node)
        if isinstance(module, nn.ReLU | SoftReLU):
            return gate
        if isinstance(module, MAX_POOLS):
            is_pooled = True  # the ReLU is open behind max pooling where it would be before
        elif not isinstance(module, _BETWEEN) or is_pooled:
            return None
        else:
            gate = node
    return None


class _Observer(fx.Interpreter):
    """Runs a network and adds up what the patterns of its layers need."""

    def __init__(self, traced: fx.GraphModule) -> None:
        super().__init__(traced)
        self.sums: dict[str, PatternSums] = {}
        self.estimators: dict[str, str] = {}
        self._gates = gates(traced)
        self._waiting: dict[fx.Node, tuple[PatternSums, torch.Tensor, torch.Tensor]] = {}
        for node, gate in self._gates.items():
            layer: Any = _module(traced, node)
            if node.target not in self.sums:
                self.sums[str(node.target)] = PatternSums(layer)
            self.estimators[str(node.target)] = "two_component" if gate else "linear"

    def run_node(self, n: fx.Node) -> Any:
        """Return the output of a step, and take account of it where it belongs to a layer."""
        result = super().run_node(n)
        if n in self._gates:
            sums, values = self.sums[str(n.target)], self.fetch_args_kwargs_from_env(n)[0][0]
            gate = self._gates[n]
            if gate is None:
                sums.add(values, result, torch.ones_like(result))
            else:
                self._waiting[gate] = sums, values, result
        if n in self._waiting:
            sums, values, output = self._waiting.pop(n)
            sums.add(values, output, result > 0)
        return result
