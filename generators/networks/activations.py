"""Activations: make each one a separate module, and replace the piecewise-linear ones by smooth ones."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn

from .convolutions import fix_weights
from .derived import Derived
from .kinks import SOFT, Abs, Clamp, Maximum, kinks_of, soft_form
from .models import MaxPool2x2, Normalize, normalized
from .overwriting import Proxy, name_of, overwrites, replaceable, without_overwriting


def _rrelu(
    lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, inplace: bool = False
) -> nn.Module | None:
    return None if training else nn.RReLU(lower, upper, inplace)


# Calls that are an activation, by the name of the function or method without the underscore of those that
# work in place, with the module that takes their further arguments.
_MODULES: dict[str, Callable[..., nn.Module | None]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "leaky_relu": nn.LeakyReLU,
    "rrelu": _rrelu,
    "hardtanh": nn.Hardtanh,
    "hardsigmoid": nn.Hardsigmoid,
    "hardswish": nn.Hardswish,
    "threshold": nn.Threshold,
    "softshrink": nn.Softshrink,
    "clamp": Clamp,
    "clip": Clamp,
    "clamp_min": lambda min: Clamp(min, None),
    "clamp_max": lambda max: Clamp(None, max),
    "abs": Abs,
    "absolute": Abs,
}
# Those of two tensors: whether they choose the smaller one.
_OF_TWO = {"maximum": False, "max": False, "minimum": True, "min": True}


class Tracer(fx.Tracer):
    """Traces a network; modules with a meaning of their own stay modules."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        """Return whether the module is one step of the graph."""
        own = (Normalize, MaxPool2x2, Clamp, Abs, Maximum, *SOFT)
        return isinstance(module, own) or super().is_leaf_module(module, name)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        """Return a value of the network."""
        return Proxy(node, self)

    def trace(self, root: Any, concrete_args: Any = None) -> fx.Graph:
        """Return the graph; refuse custom autograd functions, whose derivative a graph would lose."""
        function: Any = torch.autograd.Function
        apply = function.__dict__["apply"]

        def refuse(of: Any, *args: Any, **kwargs: Any) -> Any:
            raise TypeError(f"{of.__name__} is a custom autograd function")

        function.apply = classmethod(refuse)
        try:
            return super().trace(root, concrete_args)
        finally:
            function.apply = apply


def prepare(network: nn.Module) -> nn.Module:
    """Return `network` in evaluation mode, with fixed weights and every activation a separate module.

    Smooth copies, hooks and rules replace modules: they would miss a functional call and mix up the uses of
    a shared module, and hooks fail on values that are overwritten in place. Networks that do any of this are
    rewritten with torch.fx; others, and those that torch.fx cannot trace, are returned as they are. The
    result shares the weights of `network`; do not use `network` afterwards.
    """
    network.eval().requires_grad_(False)
    if isinstance(network, nn.Sequential) and isinstance(network[0], Normalize) and len(network) == 2:
        return normalized(network[0], prepare(network[1])).eval()  # keep `normalize` a separate module
    try:
        traced = fx.GraphModule(network, Tracer().trace(network), type(network).__name__)
    except Exception:  # the network's code may fail in any way on fx's proxies
        return network  # what stays a functional call is found by ``smoothness.check_softened``
    if not separate_activations(traced):
        return network
    traced.delete_all_unused_submodules()
    traced.graph.lint()
    traced.recompile()
    return traced.eval()


def separate_activations(traced: fx.GraphModule) -> bool:
    """Make each activation of the graph a separate module, nothing in place; return whether any changed.

    What must overwrite a value, because others share its memory, stays as it is.
    """
    steps = replaceable(traced)
    order = {node: position for position, node in enumerate(traced.graph.nodes)}
    kept = {node.target for node in order if node not in steps and overwrites(traced, node)}
    is_changed = False
    seen: set[Any] = set()
    from_images: set[fx.Node] = set()
    for node, position in order.items():
        if node.op == "placeholder" or from_images.intersection(node.all_input_nodes):
            from_images.add(node)
        if overwrites(traced, node) and node not in steps:
            continue
        name, module = f"activations.{position}", None
        if node.op == "call_module":
            original = traced.get_submodule(str(node.target))
            is_second = node.target in seen and kinks_of(original) and not list(original.parameters())
            module = copy.deepcopy(original) if is_second or node in steps else None
            if node in steps:
                setattr(module, "inplace", False)  # noqa: B010
                name = name if is_second or node.target in kept else str(node.target)
            seen.add(node.target)
        else:
            if node in steps:
                without_overwriting(node)
            # What bounds a weight, such as a temperature, is no activation.
            module = _activation(traced, node) if node in from_images else None
        if node in steps:
            _read_result(node, order)
        if module:
            traced.add_submodule(name, module)
            inputs = tuple(node.all_input_nodes)
            node.op, node.target, node.args, node.kwargs = "call_module", name, inputs, {}
        is_changed = is_changed or bool(node in steps or module)
    return is_changed


def _read_result(node: fx.Node, order: dict[fx.Node, int]) -> None:
    """Let later readers of the value that a step overwrote read its result."""
    overwritten = node.all_input_nodes[0]
    for user in list(overwritten.users):
        if order[user] > order[node]:
            user.replace_input_with(overwritten, node)


def _activation(traced: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    """Return the module that does what this call does, if it is a piecewise-linear activation."""
    if node.op not in ("call_function", "call_method"):
        return None
    name = name_of(node.target).strip("_")
    options = {key: value for key, value in node.kwargs.items() if key not in ("input", "self", "other")}
    arguments = node.args[1:]
    if name in _OF_TWO and len(node.all_input_nodes) == 2:
        are_tensors = not options and not any(isinstance(value, int | bool) for value in arguments)
        return Maximum(_OF_TWO[name]) if are_tensors else None
    if name not in _MODULES or len(node.all_input_nodes) != 1:
        return _prelu(traced, node) if name == "prelu" else None
    try:
        module = _MODULES[name](*arguments, **options)
    except (TypeError, ValueError):  # bounds that are tensors, for one
        return None
    return module if module and kinks_of(module) else None


def _prelu(traced: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    """Return a module for a functional PReLU whose weight is a parameter of the network."""
    *_, weight = node.all_input_nodes
    if weight.op != "get_attr" or len(node.all_input_nodes) != 2:
        return None
    module = nn.PReLU()
    owner, _, name = str(weight.target).rpartition(".")
    module.weight = getattr(traced.get_submodule(owner), name)
    node.args, node.kwargs = (node.all_input_nodes[0],), {}
    return module


def replaced(model: nn.Module, make: Callable[[nn.Module], nn.Module | None]) -> nn.Module:
    """Return a copy of `model` in which `make` has replaced modules.

    Modules for which `make` returns None are kept. A module of several names is replaced under each of them.
    Parameters and buffers are shared, not copied.
    """
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    result = copy.deepcopy(model, dict(shared))
    for parent in list(result.modules()):
        for name, child in list(parent._modules.items()):  # ``named_children`` names a shared one only once
            if child is not None and (new := make(child)) is not None:
                setattr(parent, name, new.train(child.training))
    return result


def with_softplus(model: nn.Module, beta: float = 1.0) -> nn.Module:
    """Return a copy with shared weights whose ReLUs are softplus(x) = ln(1 + exp(beta x)) / beta.

    The second derivative of ReLU is zero everywhere, so an attack on gradients needs this copy to find a
    direction. Other piecewise-linear activations are sums of ReLUs, each of which becomes a softplus: leaky
    ReLU becomes slope x + (1 - slope) softplus(x), as in the networks of Chen et al., "Robust Attribution
    Regularization", NeurIPS 2019, ReLU6 becomes softplus(x) - softplus(x - 6), and the larger of a and b
    becomes b + softplus(a - b). Smooth activations stay, and max pooling too, as in the published attacks.

    Only modules are replaced: ``prepare`` makes modules of functional calls, and
    ``smoothness.check_softened`` refuses networks in which something stays piecewise linear.
    """
    smooth = replaced(model, lambda module: soft_form(module, beta))
    fix_weights(smooth)
    return smooth


_SOFTENED: Derived[nn.Module] = Derived()


def softened(model: nn.Module, beta: float) -> nn.Module:
    """Return the copy that `with_softplus` makes, the same one at every call; do not change it."""
    return _SOFTENED(model, beta, lambda: with_softplus(model, beta))


def set_beta(smooth: nn.Module, beta: float) -> None:
    """Change beta of every softplus in a copy made by `with_softplus`."""
    for part in smooth.modules():
        if isinstance(part, SOFT):
            part.beta = beta
