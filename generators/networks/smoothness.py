"""Refuse networks in which something stays piecewise linear after softening."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn
from torch.autograd.function import BackwardCFunction
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ..calls import first_line
from .activations import replaced, set_beta, with_softplus
from .derived import Derived
from .kinks import SOFT, soft_form

# Steps of a graph, by the name that autograd gives them, which are piecewise linear or have jumps.
_KINKED = (
    *("Relu", "LeakyRelu", "PreluKernel", "RreluWithNoise", "Threshold", "Hardtanh", "Hardsigmoid"),
    *("Hardswish", "Softshrink", "Hardshrink", "Clamp", "ClampMin", "ClampMax", "Maximum", "Minimum"),
    *("Fmax", "Fmin", "Abs", "Sign", "Sgn", "Round", "Floor", "Ceil", "Trunc", "Frac", "Fmod", "Remainder"),
    *("Max", "Min", "Amax", "Amin", "Aminmax", "Cummax", "Cummin", "Sort", "Topk", "Kthvalue", "Mode"),
    *("Median", "Nanmedian", "Renorm"),
    *("Copysign", "FakeQuantizePerTensorAffineCachemask", "FakeQuantizePerChannelAffineCachemask"),
)
_INSTEAD = "use --attack random_sign or random_walk with an explanation that needs no softplus"
_REMEDY = (
    "write it as one of torch's activations, such as nn.ReLU, in code that torch.fx can trace, or " + _INSTEAD
)
_REMEDY_OF_MAXIMUM = (
    "write a maximum over height and width as nn.MaxPool2d or nn.AdaptiveMaxPool2d, one over channels as "
    "torch.maximum, or " + _INSTEAD
)
_REMEDY_OF_DERIVATIVE = "write that step in another way, or " + _INSTEAD
# What in-place steps are called where they run: the graph of a view that was overwritten does not show them.
_KINKED_IN_PLACE = {step.lower() for step in _KINKED}
_CHECKED: Derived[None] = Derived()


def check_softened(model: nn.Module, images: torch.Tensor) -> None:
    """Refuse a network whose copy by ``with_softplus`` is not smooth: attacks on its gradient would be weak.

    The copy explains `images` once, and every step between them and the logits is examined, so that this
    works for any code. Max pooling is a step that passes, as is ``amax((2, 3))``: it stays as it is in the
    published attacks. So is a lower bound of norms that are all far above it. The result is remembered as
    long as the network stays as it is.

    Raises
    ------
    ValueError
        If a step of the copy is piecewise linear or has a jump; if images act on it past the graph, as in a
        mask made by a comparison; if it is a custom autograd function that does not say `is_smooth`; if it
        has no gradient; or if the copy does not approach `model` as beta grows.
    """
    _CHECKED(model, (images.shape[1:], images.dtype), lambda: _check(model, images[:2]))


def _check(model: nn.Module, images: torch.Tensor) -> None:
    name, smooth = type(model).__name__, with_softplus(model)
    with torch.no_grad():
        expected: torch.Tensor = model(images)
    inputs = images.detach().clone().requires_grad_(True)
    hidden = Hidden(inputs)
    try:
        with torch.enable_grad(), hidden.watching():
            logits = smooth(inputs)
    except RuntimeError as error:
        raise ValueError(f"{name} has no gradient: {first_line(error)}; {_REMEDY_OF_DERIVATIVE}") from error
    found = rough_steps(inputs, logits) or hidden.found
    if found:
        remedy = _REMEDY_OF_MAXIMUM if found[0] in ("max", "amax") else _REMEDY
        raise ValueError(f"{found[0]} in {name} has no smooth form, so an attack would be weak: {remedy}")
    _check_value(model, images, expected)


def rough_steps(inputs: torch.Tensor, output: torch.Tensor, covered: Iterable[Any] = ()) -> list[str]:
    """Return the names of the steps between both which are not known to be smooth, without the `covered`."""
    steps = set(steps_between(inputs, output)) - set(covered)
    return sorted({name for step in steps if (name := kinked(step))})


def check_not_linear(model: nn.Module, images: torch.Tensor) -> None:
    """Refuse a network whose gradient is the same for all images.

    Raises
    ------
    ValueError
        If the copy by ``with_softplus`` has no second derivative, or torch cannot compute it.
    """
    inputs, random, second = images[:2].detach().clone().requires_grad_(True), torch.Generator(), None
    random.manual_seed(0)
    with torch.enable_grad():
        logits = with_softplus(model)(inputs)
        weights = torch.randn(logits.shape, generator=random).to(logits)
        try:
            (first,) = torch.autograd.grad((weights * logits).sum(), inputs, create_graph=True)
            if first.requires_grad:
                weights = torch.randn(first.shape, generator=random).to(first)
                (second,) = torch.autograd.grad((weights * first).sum(), inputs, allow_unused=True)
        except RuntimeError as error:
            raise ValueError(
                f"{type(model).__name__} has no second derivative: {first_line(error)}; "
                f"{_REMEDY_OF_DERIVATIVE}"
            ) from error
    if second is None or not second.any():
        raise ValueError(
            f"the gradient of {type(model).__name__} is the same for all images, because it has no "
            "activation, so no attack can change its maps through it; use --attack random_sign or random_walk"
        )


def _check_value(model: nn.Module, images: torch.Tensor, expected: torch.Tensor) -> None:
    """Refuse a network that its smooth copies do not approach as beta grows."""
    with torch.no_grad():
        steep = replaced(model, lambda part: None if isinstance(part, SOFT) else soft_form(part, 1.0))
        soft_before = {id(part) for part in _soft_places(model, steep)}
        for part in steep.modules():
            if isinstance(part, SOFT) and id(part) not in soft_before:
                set_beta(part, 1e12)  # steep for the smallest activations
        missed = float((steep(images) - expected).abs().max())
    if not missed <= 1e-3 * float(expected.abs().max()):
        raise ValueError(
            f"{type(model).__name__} with softplus does not approach itself with ReLU (logits differ by "
            f"{missed:.2g}), so an activation is not what its module says: {_REMEDY}"
        )


def _soft_places(model: nn.Module, copied: nn.Module) -> Iterator[nn.Module]:
    """Yield the modules of a copy that were smooth forms in the model already."""
    for path, part in model.named_modules():
        if isinstance(part, SOFT):
            yield copied.get_submodule(path)


def kinked(node: Any) -> str | None:
    """Return the name of a step of autograd's graph if it is not known to be smooth, else None."""
    name = node.name()
    if isinstance(node, BackwardCFunction):
        function: Any = node
        if getattr(function._forward_cls, "is_smooth", False):
            return None
        return f"the autograd function {name.removesuffix('Backward')}"
    step = name.rstrip("0123456789").removesuffix("Backward").rpartition("::")[2]
    norm = getattr(node, "_saved_ord", getattr(node, "_saved_p", 2)) if "Norm" in step else 2
    is_kinked = step in _KINKED or norm not in (2, None)
    return step.lower() if is_kinked and not (_is_pooling(node, step) or _bounds_norms(node, step)) else None


def _is_pooling(node: Any, step: str) -> bool:
    """Return whether a step takes the maximum over height and width."""
    return step == "Amax" and node._saved_self.ndim == 4 and {dim % 4 for dim in node._saved_dim} == {2, 3}


def _bounds_norms(node: Any, step: str) -> bool:
    """Return whether a step bounds norms from below, far from all of them, as in ``functional.normalize``.

    A norm that is exactly 0 belongs to a vector that is padding.
    """
    before = node.next_functions[0][0]
    is_of_norm = before is not None and before.name().startswith(("LinalgVectorNorm", "Norm", "Sqrt"))
    if not is_of_norm or step not in ("Clamp", "ClampMin") or getattr(node, "_saved_max", None) is not None:
        return False
    return _are_far_above(node._saved_min, node._saved_self)


def _are_far_above(least: Any, norms: torch.Tensor) -> bool:
    return bool(((norms > 100 * least) | (norms == 0)).all())


def steps_between(inputs: torch.Tensor, output: torch.Tensor) -> Iterable[Any]:
    """Return the steps of autograd's graph from `inputs` to `output`."""
    readers: dict[Any, list[Any]] = {}
    waiting, seen = [output.grad_fn], {output.grad_fn}
    start = []
    while waiting:
        node = waiting.pop()
        if node is None:
            continue
        if node is inputs.grad_fn or getattr(node, "variable", None) is inputs:
            start.append(node)
        for before, _ in node.next_functions:
            readers.setdefault(before, []).append(node)
            if before not in seen:
                seen.add(before)
                waiting.append(before)
    reached = set(start)
    while start:
        for node in readers.get(start.pop(), []):
            if node not in reached:
                reached.add(node)
                start.append(node)
    return reached


class Hidden:
    """Finds steps through which values act on the result without a graph: masks, and what is detached.

    Indices of height and width pass: max pooling is written with them. So do conditions that code depends on.
    """

    def __init__(self, images: torch.Tensor) -> None:
        self.found: list[str] = []
        # Every tensor that depends on the images, with the step that it comes from; kept, or else another
        # tensor could take its id.
        self._from: dict[int, tuple[torch.Tensor, str]] = {id(images): (images, "")}

    def watching(self) -> AbstractContextManager[Any]:
        """Return a context in which every operation of torch is examined."""
        members = {
            "__torch_dispatch__": lambda mode, *call: self._examine(*call),
            # Or else torch imports its compiler, which takes seconds.
            "_should_skip_dynamo": classmethod(lambda kind: False),
        }
        mode: Any = type("Watching", (TorchDispatchMode,), members)
        result: AbstractContextManager[Any] = mode()
        return result

    def _examine(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        step = str(function).split(".")[1]
        is_idle = step == "clamp_min_" and _are_far_above(args[1], args[0])  # as in cosine_similarity
        result = function(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        dependent = [tensor for tensor in tensors if id(tensor) in self._from]
        if not dependent or step.startswith("new_") or step.endswith("_like"):
            return result
        if step.endswith("_") and not is_idle and step.replace("_", "") in _KINKED_IN_PLACE:
            self.found.append(step.strip("_"))
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in dependent):
            for tensor in dependent:
                is_index = not tensor.is_floating_point() and tensor.dtype != torch.bool
                if not tensor.requires_grad and not (is_index and _is_of_places(step, args)):
                    origin = self._from[id(tensor)][1]
                    self.found.append(step if step == "where" else origin or step)
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                origin = next((self._from[id(t)][1] for t in dependent if not t.requires_grad), step)
                self._from[id(leaf)] = leaf, origin or step
        return result


def _is_of_places(step: str, args: Any) -> bool:
    """Return whether the indices of a step are places in an image, not images or channels."""
    if step == "gather":
        return bool(args[1] % args[0].ndim >= 2)
    return bool(step == "index" and all(index is None for index in args[1][:2]))
