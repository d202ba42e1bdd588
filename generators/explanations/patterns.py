"""Patterns: for each linear and convolution layer, the direction of its signal, estimated from data.

A neuron computes y = w x + b. Of its input x, the signal s carries what y is about, and the filter w cancels
the rest, the distractor. So w says little about the signal; its direction is the pattern a, with w a = 1 and
s = a y. It is estimated from the inputs x and outputs y of the layer over many images:

linear
    a = cov(x, y) / (w cov(x, y)), for neurons without a ReLU, such as those of logits.
two_component
    a = (E+[x y] - E+[x] E[y]) / (w (E+[x y] - E+[x] E[y])), for neurons before a ReLU. E+ is the mean over
    the inputs for which the ReLU is open, E the mean over all.

A convolution is a neuron at each place, whose inputs are patches. Biases cancel in both estimators; they
count where the ReLU opens. Batch norm after a layer counts there too, and changes nothing else: its scale
divides a and multiplies w.

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
from .rules import MAX_POOLS
from .steps import RESHAPING, RESHAPING_CALLS, sizes

# The buffer of a layer that holds its weights times its pattern.
SIGNAL = "signal_weight"
# Of a sum over outputs squared, what counts as no variation at all: relative changes of y below 3e-7.
_NOTHING = 1e-13
# Values of patches at a time, for one image at least.
_CHUNK = 2**22

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
        If the network cannot be traced or has a step for which there is no rule, or there are no images.

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
            observer.run(images)
            n_samples += len(images)
    if not n_samples:
        raise ValueError("patterns are estimated from images, and there are none; give at least one")
    found = {name: sums.pattern() for name, sums in observer.sums.items()}
    return Patterns(
        {name: pattern for name, (pattern, _) in found.items()},
        {
            name: "two_component" if name in observer.gated else "linear"
            for name in observer.sums
        },
        {name: undefined for name, (_, undefined) in found.items()},
        n_samples,
    )


def attach_patterns(model: nn.Module, values: Mapping[str, torch.Tensor]) -> None:
    """Give each layer of a network its pattern, for ``pattern_attribution``; smooth copies have them too.

    Raises
    ------
    ValueError
        If a layer has none, or one of another shape, or there are patterns of other layers.
    """
    layers = {name: part for name, part in model.named_modules() if isinstance(part, nn.Conv2d | nn.Linear)}
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
            raise ValueError(
                f"pattern_attribution has no rule for {node.name} of {name}: it knows linear layers and "
                "convolutions padded with zeros, whose weights are parameters, batch norm, ReLU, pooling, "
                "additions and concatenations; use another explanation or network"
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


class _Observer(fx.Interpreter):
    """Runs a network and adds up what the patterns of its layers need."""

    def __init__(self, traced: fx.GraphModule) -> None:
        super().__init__(traced)
        self.sums: dict[str, _Sums] = {}
        # For each use of a layer the step whose output opens its ReLU; layers that have one at every use.
        self._gates: dict[fx.Node, fx.Node | None] = {}
        for node in traced.graph.nodes:
            layer = traced.get_submodule(str(node.target)) if node.op == "call_module" else None
            if isinstance(layer, nn.Conv2d | nn.Linear):
                self._gates[node] = self._gate(node)
                self.sums.setdefault(str(node.target), _Sums(layer))
        self.gated = set(self.sums) - {
            str(node.target) for node, gate in self._gates.items() if gate is None
        }
        self._waiting: dict[fx.Node, tuple[_Sums, torch.Tensor, torch.Tensor]] = {}

    def _module(self, node: fx.Node) -> nn.Module | None:
        traced: Any = self.module
        found: nn.Module | None = (
            traced.get_submodule(str(node.target)) if node.op == "call_module" else None
        )
        return found

    def _gate(self, node: fx.Node) -> fx.Node | None:
        """Return the step before the ReLU that alone reads the layer's output; None if there is none."""
        gate = node
        while len(node.users) == 1:
            (user,) = node.users
            module = self._module(user)
            if isinstance(module, nn.ReLU | SoftReLU):
                return gate
            if not isinstance(module, (*_BETWEEN, *MAX_POOLS)):
                return None
            if isinstance(module, _BETWEEN) and gate is node:
                gate = user  # behind max pooling, a ReLU is as open as before it
            elif isinstance(module, BATCH_NORMS):
                return None
            node = user
        return None

    def run_node(self, n: fx.Node) -> Any:
        """Return the output of a step, and take account of it where it belongs to a layer."""
        result = super().run_node(n)
        if n in self._gates:
            sums, values = self.sums[str(n.target)], self.fetch_args_kwargs_from_env(n)[0][0]
            gate = self._gates[n] if str(n.target) in self.gated else None
            if gate is None:
                sums.add(values, result, torch.ones_like(result))
            else:
                self._waiting[gate] = sums, values, result
        if n in self._waiting:
            sums, values, output = self._waiting.pop(n)
            sums.add(values, output, result > 0)
        return result


class _Sums:
    """Running sums over the neurons of a layer, in float64.

    With c the mean output in the first batch, they are those of y - c over all inputs and, over those whose
    ReLU is open, of x (y - c), of x and of y squared: enough for both estimators without cancellation.
    """

    def __init__(self, layer: nn.Conv2d | nn.Linear) -> None:
        self._layer = layer
        self._groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
        self._n = 0
        self._center: torch.Tensor | None = None
        zeros = torch.zeros((self._groups, 2 * len(layer.weight) // self._groups, layer.weight[0].numel()))
        self._products = zeros.to(layer.weight.device, torch.float64)  # of x (y - c), then of x
        self._of_output = self._of_squares = torch.zeros(())

    def add(self, values: torch.Tensor, output: torch.Tensor, is_open: torch.Tensor) -> None:
        """Add inputs and outputs of the layer, and for which of these the ReLU is open."""
        layer = self._layer
        if isinstance(layer, nn.Linear):  # a convolution of 1x1 over one place
            values, output, is_open = (
                part.reshape(-1, part.shape[-1])[..., None] for part in (values, output, is_open)
            )
        output, is_open = output.double().flatten(2), is_open.double().flatten(2)
        if self._center is None:
            self._center = output.mean((0, 2))
        centered = output - self._center[:, None]
        self._n += output.shape[0] * output.shape[2]
        self._of_output = self._of_output.to(output) + centered.sum((0, 2))
        self._of_squares = self._of_squares.to(output) + (is_open * output**2).sum((0, 2))
        per_image = layer.weight[0].numel() * self._groups * output.shape[2]
        step = max(1, _CHUNK // per_image)
        for first in range(0, len(values), step):
            part = slice(first, first + step)
            self._add_products(values[part], is_open[part] * centered[part], is_open[part])

    def _add_products(self, values: torch.Tensor, *weights: torch.Tensor) -> None:
        """Add the sums over samples and places of each weight (sample, neuron, place) times the inputs."""
        layer, patches = self._layer, values.double()
        if isinstance(layer, nn.Conv2d):
            patches = functional.unfold(
                patches, layer.kernel_size, layer.dilation, layer.padding, layer.stride
            )
        flat = [part.unflatten(1, (self._groups, -1)) for part in (patches, *weights)]
        rows = torch.cat(flat[1:], 2).permute(1, 2, 0, 3).flatten(2)
        self._products.baddbmm_(rows, flat[0].permute(1, 0, 3, 2).flatten(1, 2))

    def pattern(self) -> tuple[torch.Tensor, int]:
        """Return the patterns of the layer's neurons, and how many of them are undefined."""
        weight = self._layer.weight.detach().double()
        products, inputs = self._products.chunk(2, 1)
        mean = (self._of_output / self._n).reshape(self._groups, -1, 1)
        covariance = (products - mean * inputs).reshape(weight.shape)
        of_output = (weight * covariance).flatten(1).sum(1)
        undefined = of_output.abs() <= _NOTHING * self._of_squares
        pattern = covariance / of_output.where(~undefined, 1.0).reshape(-1, *[1] * (weight.ndim - 1))
        pattern[undefined] = 0
        return pattern, int(undefined.sum())
