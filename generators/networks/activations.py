"""Activations: make each ReLU a separate module, and replace ReLUs by softplus."""

import copy
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn
from torch.nn.functional import relu, relu6, softplus

from .convolutions import fix_weights
from .models import Normalize, first_line, normalized


class SoftReLU6(nn.Module):
    """softplus(x) - softplus(x - 6), the smooth version of ReLU6."""

    def __init__(self, beta: float) -> None:
        super().__init__()
        self.beta = beta

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return values in (0, 6)."""
        return softplus(values, self.beta) - softplus(values - 6, self.beta)


_RELU_FUNCTIONS: dict[Any, Callable[[], nn.Module]] = {
    relu: nn.ReLU,
    torch.relu: nn.ReLU,
    torch.relu_: nn.ReLU,
    relu6: nn.ReLU6,
    "relu": nn.ReLU,
    "relu_": nn.ReLU,
}


def prepare(network: nn.Module) -> nn.Module:
    """Return `network` in evaluation mode, with fixed weights and every ReLU a separate module.

    Softplus copies, hooks and rules replace modules: they would miss a functional call and mix up the uses of
    a shared module, and hooks fail on values that are overwritten in place. Networks that do any of this are
    rewritten with torch.fx; others are returned as they are. The result shares the weights of `network`; do
    not use `network` afterwards.

    Raises
    ------
    ValueError
        If torch.fx cannot trace the network.
    """
    network.eval().requires_grad_(False)
    if isinstance(network, nn.Sequential) and isinstance(network[0], Normalize) and len(network) == 2:
        return normalized(network[0], prepare(network[1])).eval()  # keep `normalize` a separate module
    try:
        traced = fx.symbolic_trace(network)
    except Exception as error:  # the network's code may fail in any way on fx's proxies
        raise ValueError(
            f"torch.fx cannot trace {type(network).__name__} ({first_line(error)}), so its ReLUs cannot be "
            "made modules; use a model whose control flow does not depend on the images"
        ) from error
    if not _separate_activations(traced):
        return network
    traced.delete_all_unused_submodules()
    traced.graph.lint()
    traced.recompile()
    return traced


def _separate_activations(traced: fx.GraphModule) -> bool:
    """Make each ReLU of the graph a separate module, nothing in place; return whether anything changed."""
    order = {node: position for position, node in enumerate(traced.graph.nodes)}
    in_place = {name for name, module in traced.named_modules() if getattr(module, "inplace", False)}
    for name in in_place:
        part: Any = traced.get_submodule(name)
        part.inplace = False
    is_changed = False
    seen = set()
    for node, position in order.items():
        overwrites = node.target in (operator.iadd, torch.relu_, "relu_") or node.kwargs.get("inplace", False)
        make = _RELU_FUNCTIONS.get(node.target) if node.op.startswith("call_") else None
        if node.op == "call_module":
            overwrites = node.target in in_place
            module = traced.get_submodule(node.target)
            is_second = node.target in seen and isinstance(module, nn.ReLU | nn.ReLU6)
            make = type(module) if is_second else None
            seen.add(node.target)
        if overwrites:  # later readers of the overwritten value read this result
            (overwritten, *_) = node.all_input_nodes
            for user in list(overwritten.users):
                if order[user] > position:
                    user.replace_input_with(overwritten, node)
        if node.target is operator.iadd:
            node.target = operator.add
        elif make:
            name = f"relus.{position}"
            traced.add_submodule(name, make())
            node.op, node.target, node.args, node.kwargs = "call_module", name, (node.all_input_nodes[0],), {}
        is_changed = is_changed or bool(overwrites or make)
    return is_changed


def replaced(model: nn.Module, make: Callable[[nn.Module], nn.Module | None]) -> nn.Module:
    """Return a copy of `model` in which `make` has replaced modules.

    Modules for which `make` returns None are kept. Parameters and buffers are shared, not copied.
    """
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    result = copy.deepcopy(model, dict(shared))
    for parent in list(result.modules()):
        for name, child in list(parent.named_children()):
            new = make(child)
            if new is not None:
                setattr(parent, name, new.train(child.training))
    return result


# Activations whose second derivative is not zero everywhere.
_SMOOTH = (nn.GELU, nn.SiLU, nn.Mish, nn.ELU, nn.Sigmoid, nn.Tanh, nn.Softplus, SoftReLU6)


def with_softplus(model: nn.Module, beta: float = 1.0) -> nn.Module:
    """Return a copy with shared weights whose ReLUs are softplus(x) = ln(1 + exp(beta x)) / beta.

    The second derivative of ReLU is zero everywhere, so an attack on gradients needs this copy to find a
    direction. ReLU6 becomes softplus(x) - softplus(x - 6), a softplus takes the new beta, and other
    activations stay.

    Raises
    ------
    ValueError
        If the model has neither ReLU modules nor a smooth activation: an attack on the unchanged network
        would be weak without showing it (functional calls cannot be replaced; see `prepare`).
    """

    def soft(module: nn.Module) -> nn.Module | None:
        if isinstance(module, nn.ReLU | nn.Softplus):
            return nn.Softplus(beta)
        return SoftReLU6(beta) if isinstance(module, nn.ReLU6 | SoftReLU6) else None

    smooth = replaced(model, soft)
    if not any(isinstance(part, _SMOOTH) for part in smooth.modules()):
        raise ValueError(
            f"{type(model).__name__} has neither a ReLU module to replace by softplus nor a smooth activation"
        )
    fix_weights(smooth)
    return smooth


def set_beta(smooth: nn.Module, beta: float) -> None:
    """Change beta of every softplus in a copy made by `with_softplus`."""
    for part in smooth.modules():
        if isinstance(part, nn.Softplus | SoftReLU6):
            part.beta = beta
