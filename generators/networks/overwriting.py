"""Steps of a traced network that overwrite a value, as ``x += 1`` and ``x.relu_()`` do."""

import inspect
import operator
from typing import Any

import torch
from torch import fx, nn

_OPERATORS = {
    getattr(operator, name): getattr(operator, name[1:], None) or getattr(operator, f"{name[1:]}_")
    for name in fx.graph.inplace_methods
    if name != "setitem"  # which torch.fx does not trace
}
# Functions whose result has memory of its own, as that of all modules but those below. What any other
# function returns may be a view of what it is given.
_NAMES = """
    add sub mul div truediv neg pow exp log sqrt rsqrt square abs matmul mm bmm addmm cat concat stack
    clone mean sum var std linear conv1d conv2d conv3d conv_transpose2d batch_norm layer_norm group_norm
    instance_norm normalize max_pool2d avg_pool2d adaptive_avg_pool2d adaptive_max_pool2d interpolate
    softmax sigmoid tanh relu relu6 leaky_relu prelu hardtanh hardsigmoid hardswish clamp maximum minimum
    softplus elu selu celu silu mish gelu zeros_like ones_like empty_like rand_like full_like size dim
    numel
"""
_OWN_MEMORY = frozenset(_NAMES.split())
_VIEWING = (nn.Identity, nn.Flatten, nn.Unflatten, nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle)
_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
_FACTS = ("shape", "dtype", "device", "ndim")


class Proxy(fx.Proxy):
    """A value of a network that is being traced; ``x += 1`` overwrites it, other than in torch.fx."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in ("node", "tracer"):  # as in ``x.data = x.relu()``, which torch.fx would lose
            raise TypeError(f"{name} of a value is set")
        super().__setattr__(name, value)


def _overwriting(target: Any) -> Any:
    return lambda proxy, other: proxy.tracer.create_proxy("call_function", target, (proxy, other), {})


for _target in _OPERATORS:
    setattr(Proxy, f"__{_target.__name__}__", _overwriting(_target))


def name_of(target: Any) -> str:
    """Return the name of a function of torch or an operator, or of a method; others have none here."""
    if isinstance(target, str):
        return target
    is_known = (getattr(target, "__module__", "") or "torch").startswith(("torch", "_operator"))
    return str(getattr(target, "__name__", "")) if is_known else ""


def overwrites(traced: fx.GraphModule, node: fx.Node) -> bool:
    """Return whether a step overwrites its first input."""
    if node.op == "call_module":
        return bool(getattr(traced.get_submodule(str(node.target)), "inplace", False))
    if node.op not in ("call_function", "call_method"):
        return False
    name = name_of(node.target)
    has_name = name.endswith("_") and not name.endswith("__") and node.target not in _OPERATORS.values()
    return bool(has_name or node.target in _OPERATORS or "out" in node.kwargs or _in_place_arguments(node))


def replaceable(traced: fx.GraphModule) -> set[fx.Node]:
    """Return the steps that may return a new value instead of overwriting one, with the same result.

    The overwritten value must not share its memory, as a view does, with another one that is read later, nor
    with a weight.
    """
    order = {node: position for position, node in enumerate(traced.graph.nodes)}
    sharing: dict[fx.Node, set[fx.Node]] = {}
    tensor: dict[fx.Node, fx.Node] = {}  # the node that made the tensor which a node returns
    result = set()
    for node, position in order.items():
        tensor[node] = node
        does_overwrite = overwrites(traced, node)
        inputs = node.all_input_nodes if does_overwrite or _may_share(traced, node) else []
        together = {node}.union(*(sharing[before] for before in inputs))
        sharing.update(dict.fromkeys(together, together))
        if does_overwrite and inputs and (node.op == "call_module" or _new_value(node)):
            old = tensor[inputs[0]]
            others = [other for other in together - {node} if tensor[other] is not old]
            is_read = any(order[user] > position for other in others for user in other.users)
            if not is_read and not any(other.op == "get_attr" for other in together):
                result.add(node)
                tensor[node] = old
    return result


def without_overwriting(node: fx.Node) -> None:
    """Let a call of ``replaceable`` return a new value."""
    arguments = _in_place_arguments(node)
    if arguments:
        arguments.arguments["inplace"] = False
        node.args, node.kwargs = arguments.args, arguments.kwargs
    else:
        node.target = _new_value(node)


def _in_place_arguments(node: fx.Node) -> inspect.BoundArguments | None:
    """Return the arguments of a function of torch that is called with ``inplace=True``."""
    if not inspect.isfunction(node.target) or node.target.__module__ != nn.functional.__name__:
        return None
    arguments = inspect.signature(node.target).bind(*node.args, **node.kwargs)
    return arguments if arguments.arguments.get("inplace") else None


def _new_value(node: fx.Node) -> Any:
    """Return what computes the same as this call, without overwriting; None if there is nothing."""
    if node.target in _OPERATORS:
        return _OPERATORS[node.target]
    if "out" in node.kwargs:
        return None
    if _in_place_arguments(node):
        return node.target
    name = name_of(node.target)[:-1]
    if node.op == "call_method":
        return name if hasattr(torch.Tensor, name) else None
    owner = nn.functional if getattr(nn.functional, f"{name}_", None) is node.target else torch
    return getattr(owner, name, None)


def _may_share(traced: fx.GraphModule, node: fx.Node) -> bool:
    """Return whether what a step returns may share memory with its inputs."""
    if node.op == "call_module":
        return isinstance(traced.get_submodule(str(node.target)), (*_VIEWING, *_DROPOUTS))
    if node.op == "output" or (node.target is getattr and node.args[1] in _FACTS):
        return False
    return name_of(node.target) not in _OWN_MEMORY
