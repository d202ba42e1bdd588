"""Explanations that replace the rules of the backward pass: guided backpropagation, DeepLIFT and LRP.

Rules are tensor hooks of one forward pass, gone before anyone takes the gradient of the result. What remains
is the graph of the rules' own arithmetic and of the unchanged network, so that gradient is the true one.
"""

import importlib
import operator
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from ..networks.models import MaxPool2x2, Normalize, SoftReLU6

# (module, its input, its output, gradient of the output, gradient of the input) -> new gradient of the input
Rule = Callable[[nn.Module, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]

_RELUS = (nn.ReLU, nn.ReLU6, nn.Softplus, SoftReLU6)
_PIECEWISE_LINEAR = (nn.ReLU, nn.ReLU6, nn.LeakyReLU)
_ACTIVATIONS = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.Hardswish, nn.Hardsigmoid),
    *(nn.Softplus, SoftReLU6, nn.ELU, nn.GELU, nn.SiLU, nn.Mish, nn.Sigmoid, nn.Tanh),
)
_MAX_POOLS = (nn.MaxPool2d, nn.AdaptiveMaxPool2d, MaxPool2x2)


@contextmanager
def _rules(model: nn.Module, rule_of: Callable[[nn.Module], Rule | None]) -> Iterator[None]:
    """Gradients follow `rule_of(module)` for the passes that begin and end in here."""
    handles = []

    def own_input(module: nn.Module, args: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return args[0].clone()  # others may use the same tensor, and its gradient is for this module alone

    def watched(rule: Rule) -> Callable[[nn.Module, Any, Any], None]:
        def watch(module: nn.Module, args: Any, output: Any) -> None:
            (values,) = args
            of_output: list[torch.Tensor] = []
            handles.append(output.register_hook(of_output.append))
            handles.append(
                values.register_hook(lambda of_input: rule(module, values, output, of_output.pop(), of_input))
            )

        return watch

    for module in model.modules():
        rule = rule_of(module)
        if rule is not None:
            handles.append(module.register_forward_pre_hook(own_input))
            handles.append(module.register_forward_hook(watched(rule)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def inputs_of(images: torch.Tensor, differentiable: bool) -> torch.Tensor:
    """What an explanation takes the gradient of: `images` themselves only if their graph is wanted."""
    return images if differentiable and images.requires_grad else images.detach().requires_grad_(True)


def guided(model: nn.Module) -> AbstractContextManager[None]:
    """Every ReLU, or softplus in its place, passes back only what is positive."""
    if not any(isinstance(module, _RELUS) for module in model.modules()):
        raise ValueError(
            f"{type(model).__name__} has no ReLU, so guided_backprop would be its gradient; use gradient"
        )

    def positive(
        module: nn.Module,
        values: torch.Tensor,
        output: torch.Tensor,
        of_output: torch.Tensor,
        of_input: torch.Tensor,
    ) -> torch.Tensor:
        return of_input.clamp_min(0)  # the activation's own derivative is not negative

    return _rules(model, lambda module: positive if isinstance(module, _RELUS) else None)


def deep_lift(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, *, differentiable: bool = False
) -> torch.Tensor:
    """DeepLIFT contributions by the rescale rule; the reference is black.

    Max pooling gives what the image has over the reference to the pixel that wins in the image, and what it
    lacks to the one that wins in the reference. Contributions add up to the difference of the label's logit.

    Raises
    ------
    ValueError
        If they do not: some step of the network is neither linear nor an activation nor max pooling.

    Notes
    -----
    Without max pooling this equals captum's DeepLift. With it, captum 0.9 loses contributions: on ImageNet's
    SqueezeNet they missed two thirds of the difference of logits.

    References
    ----------
    Shrikumar, Greenside, Kundaje, "Learning Important Features Through Propagating Activation Differences",
    ICML 2017, section 3.5.1; Lundberg and Lee, NeurIPS 2017, for max pooling.
    """

    def rule_of(module: nn.Module) -> Rule | None:
        if isinstance(module, _MAX_POOLS):
            return _rescale_max
        return _rescale if isinstance(module, _ACTIVATIONS) else None

    with torch.enable_grad(), _rules(model, rule_of):
        inputs = inputs_of(images, differentiable)
        # The last sample is the reference of all others, in every layer.
        logits = model(torch.cat([inputs, images.new_zeros((1, *images.shape[1:]))]))
        scores = logits[:-1].gather(1, labels[:, None])[:, 0]
        (multipliers,) = torch.autograd.grad(scores.sum(), inputs, create_graph=differentiable)
    result = images * multipliers
    missed = (result.detach().sum((1, 2, 3)) - scores.detach() + logits[-1, labels].detach()).abs()
    missed = missed / result.detach().abs().sum((1, 2, 3))
    if (missed > 1e-3).any():
        raise ValueError(
            f"{type(model).__name__} holds a step that DeepLIFT's rules do not cover: contributions miss the "
            f"difference of logits by {float(missed.max()):.1%} of their size; use another explanation"
        )
    return result


def _rescale(
    module: nn.Module,
    values: torch.Tensor,
    output: torch.Tensor,
    of_output: torch.Tensor,
    of_input: torch.Tensor,
) -> torch.Tensor:
    """The rescale rule: upstream times difference of outputs over difference of inputs."""
    inputs, reference = values[:-1], values[-1:]
    if isinstance(module, _PIECEWISE_LINEAR):
        is_small = inputs == reference
        in_the_limit = of_input[:-1]
    else:
        # A quotient of small differences is rounding; the slope half-way errs by the difference squared.
        is_small = (inputs - reference).abs() < torch.finfo(values.dtype).eps ** (1 / 3)
        in_the_limit = _vjp(module.forward, (inputs + reference) / 2, of_output[:-1])
    quotient = (output[:-1] - output[-1:]) / torch.where(is_small, 1, inputs - reference)
    return _without_reference(torch.where(is_small, in_the_limit, of_output[:-1] * quotient))


def _rescale_max(
    module: nn.Module,
    values: torch.Tensor,
    output: torch.Tensor,
    of_output: torch.Tensor,
    of_input: torch.Tensor,
) -> torch.Tensor:
    inputs, references = values[:-1], values[-1:].expand_as(values[:-1])
    larger = torch.maximum(output[:-1], output[-1:])
    # The gradient of max pooling sends everything to the pixel that wins. There, inputs differ at least as
    # much as outputs do, up to rounding.
    share = _vjp(module.forward, inputs, of_output[:-1] * (larger - output[-1:]))
    share = share + _vjp(module.forward, references, of_output[:-1] * (output[:-1] - larger))
    is_small = (inputs - references).abs() < 1e-6
    quotient = share / torch.where(is_small, 1, inputs - references)
    return _without_reference(torch.where(is_small, of_input[:-1], quotient))


def _vjp(
    function: Callable[[torch.Tensor], torch.Tensor], at: torch.Tensor, upstream: torch.Tensor
) -> torch.Tensor:
    """`upstream` taken back through `function`, with a graph if the backward pass that asks makes one."""
    is_differentiable = torch.is_grad_enabled()
    with torch.enable_grad():
        at = at if is_differentiable else at.detach().requires_grad_(True)
        (result,) = torch.autograd.grad(function(at), at, upstream, create_graph=is_differentiable)
    return result


def _without_reference(gradient: torch.Tensor) -> torch.Tensor:
    """Nothing goes back to the reference itself."""
    return torch.cat([gradient, torch.zeros_like(gradient[:1])])


def lrp(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, *, differentiable: bool = False
) -> torch.Tensor:
    """Layer-wise relevance propagation: z^B, z+ in convolutions, epsilon in linear layers.

    The label's logit is what is propagated. z^B takes the range that images in [0, 1] have after
    normalisation, through which relevance passes unchanged. Batch norm is first folded into the
    convolution before it. Biases take their share of relevance.

    Raises
    ------
    ValueError
        If the network holds a step without a rule, or zennit is not installed.

    References
    ----------
    Bach et al., PLoS ONE 10(7), 2015; Montavon et al., "Explaining nonlinear classification decisions with
    deep Taylor decomposition", Pattern Recognition 65, 2017; the composite EpsilonPlus is zennit's
    (Anders et al., arXiv:2106.13200).
    """
    zennit = _zennit()
    network, first, normalize = _for_lrp(model, zennit)
    ends = [normalize(torch.full_like(images[:1], value)) for value in (0, 1)]

    def rule_of(context: dict[str, Any], name: str, module: nn.Module) -> Any:
        if module in first:
            is_flat = isinstance(module, nn.Linear)
            return zennit.rules.ZBox(*(end.flatten(1) if is_flat else end for end in ends))
        return next((make() for types, make in rules if isinstance(module, types)), None)

    rules: list[tuple[Any, Callable[[], Any]]] = [
        (nn.Conv2d, zennit.rules.ZPlus),
        (nn.Linear, zennit.rules.Epsilon),
        ((nn.AvgPool2d, nn.AdaptiveAvgPool2d, zennit.layer.Sum), zennit.rules.Norm),
        (_RELUS, zennit.rules.Pass),
    ]
    with torch.enable_grad(), zennit.core.Composite(rule_of).context(network):
        inputs = normalize(inputs_of(images, differentiable))
        logits: torch.Tensor = network(inputs)
        start = torch.zeros_like(logits).scatter(1, labels[:, None], logits.gather(1, labels[:, None]))
        start = start if differentiable else start.detach()
        (result,) = torch.autograd.grad(logits, inputs, start, create_graph=differentiable)
    relevance: torch.Tensor = result
    return relevance.sum_to_size(images.shape)  # of a grey image, relevance arrives in three channels


def _zennit() -> Any:
    try:
        for part in ("core", "layer", "rules"):
            importlib.import_module(f"zennit.{part}")
    except ImportError as error:
        raise ValueError("lrp needs zennit: pip install 'lensmetrics[generators]'") from error
    except RuntimeError as error:  # it imports torchvision
        raise ValueError(
            f"lrp needs zennit, which cannot be imported ({error}); install the torchvision that belongs to "
            f"torch {torch.__version__}"
        ) from error
    return importlib.import_module("zennit")


class _Tracer(fx.Tracer):
    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return isinstance(module, Normalize | SoftReLU6 | MaxPool2x2) or super().is_leaf_module(module, name)


_RESHAPING_CALLS = (torch.flatten, "flatten", "view", "reshape")
_RESHAPING = (nn.Flatten, nn.Dropout, nn.Identity)
_WITH_RULES = (nn.Conv2d, nn.Linear, nn.AvgPool2d, nn.AdaptiveAvgPool2d, *_RELUS, *_MAX_POOLS, *_RESHAPING)


def _for_lrp(model: nn.Module, zennit: Any) -> tuple[nn.Module, list[nn.Module], nn.Module]:
    """A network of modules with rules, its first layers, and what normalises their input.

    Modules are those of `model`; only batch norm is folded, into new ones, and additions become modules.
    """
    network = fx.GraphModule(model, _Tracer().trace(model))
    graph = network.graph
    normalize: nn.Module = nn.Identity()
    for node in list(graph.nodes):
        module = network.get_submodule(node.target) if node.op == "call_module" else None
        if isinstance(module, Normalize) and node.args[0].op == "placeholder":
            normalize = module
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
        elif node.target in (operator.add, torch.add) and len(node.all_input_nodes) == 2 and not node.kwargs:
            with graph.inserting_before(node):
                stacked = graph.call_function(torch.stack, (node.args, -1))
            network.add_submodule(f"{node.name}_sum", zennit.layer.Sum())
            node.op, node.target, node.args = "call_module", f"{node.name}_sum", (stacked,)
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and _fold(network, node, module):
            continue
        elif not (
            node.op in ("placeholder", "output")
            or isinstance(module, _WITH_RULES)
            or node.target in (torch.cat, *_RESHAPING_CALLS)
        ):
            raise ValueError(
                f"lrp has no rule for {node.name} of {type(model).__name__}: it knows convolutions, linear "
                "layers, batch norm right behind one, ReLU and softplus, pooling modules, additions of two "
                "branches and concatenations; use another explanation or network"
            )
    network.recompile()
    return network, _first_layers(network), normalize


def _first_layers(network: fx.GraphModule) -> list[nn.Module]:
    """The layers that read the input as it is, or in another shape."""
    unchanged = set()
    layers: list[nn.Module] = []
    for node in network.graph.nodes:
        module = network.get_submodule(node.target) if node.op == "call_module" else None
        is_first = node.op != "placeholder" and node.all_input_nodes[0] in unchanged
        if is_first and isinstance(module, nn.Conv2d | nn.Linear):
            layers.append(module)
        keeps = isinstance(module, _RESHAPING) or node.target in _RESHAPING_CALLS
        if node.op == "placeholder" or (is_first and keeps):
            unchanged.add(node)
    return layers


def _fold(network: fx.GraphModule, node: fx.Node, batch_norm: Any) -> bool:
    """Take a batch norm into the layer before it; False where that is not linear, or read by others too."""
    (before,) = node.all_input_nodes
    layer = network.get_submodule(str(before.target)) if before.op == "call_module" else None
    if not isinstance(layer, nn.Conv2d | nn.Linear) or len(before.users) > 1:
        return False
    fuse: Any = fuse_conv_bn_eval if isinstance(layer, nn.Conv2d) else fuse_linear_bn_eval
    name = f"{before.name}_folded"
    network.add_submodule(name, fuse(layer, batch_norm))
    before.target = name
    node.replace_all_uses_with(before)
    network.graph.erase_node(node)
    return True
