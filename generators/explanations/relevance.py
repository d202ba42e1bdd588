"""Layer-wise relevance propagation with zennit's rules."""

import copy
import importlib
import operator
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from ..calls import first_line
from ..networks.activations import Tracer, separate_activations
from ..networks.derived import Derived
from ..networks.models import Normalize
from ..networks.overwriting import overwrites
from .forms import FORM, is_dombrowski
from .gradients import leaf
from .record import Explanation
from .rules import MAX_POOLS, passes_relevance
from .steps import RESHAPING, RESHAPING_CALLS, sizes


def lrp(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    form: str = "standard",
    differentiable: bool = False,
) -> torch.Tensor:
    """Return the relevance that LRP assigns: z^B, z+ in convolutions, epsilon in linear layers.

    The label's logit is propagated. z^B uses the range of images in [0, 1] after normalization; relevance
    passes through the normalization unchanged. Batch norm is first folded into the layer before it. Biases
    absorb their share of relevance.

    In the form dombrowski linear layers take z+ as well, biases absorb nothing, and z^B uses one range for
    all channels, from the least to the largest normalized value. Their code knows neither batch norm nor
    average pooling nor branches, which are treated as in the standard form.

    Raises
    ------
    ValueError
        If the network cannot be traced or has a step without a rule, or zennit cannot be imported.

    References
    ----------
    Bach et al., PLoS ONE 10(7), 2015; Montavon et al., "Explaining nonlinear classification decisions with
    deep Taylor decomposition", Pattern Recognition 65, 2017; the composite EpsilonPlus is zennit's
    (Anders et al., arXiv:2106.13200). For the form dombrowski see forms.py.
    """
    zennit = _zennit()
    network, first, normalize = _NETWORKS(model, None, lambda: _for_lrp(model, zennit))
    ends = [normalize(torch.full_like(images[:1], value)) for value in (0, 1)]
    theirs = is_dombrowski(form)
    setting: dict[str, Any] = {"stabilizer": 1e-9, "zero_params": ["bias"]} if theirs else {}
    if theirs:
        ends = [ends[0].min().expand_as(ends[0]), ends[1].max().expand_as(ends[1])]

    def rule_of(context: dict[str, Any], name: str, module: nn.Module) -> Any:
        if module in first:
            is_flat = isinstance(module, nn.Linear)
            return zennit.rules.ZBox(*(end.flatten(1) if is_flat else end for end in ends), **setting)
        if passes_relevance(module):
            return zennit.rules.Pass()
        return next((make() for types, make in rules if isinstance(module, types)), None)

    rules: list[tuple[Any, Callable[[], Any]]] = [
        (nn.Conv2d, partial(zennit.rules.ZPlus, **setting)),
        (nn.Linear, partial(zennit.rules.ZPlus, **setting) if theirs else zennit.rules.Epsilon),
        ((nn.AvgPool2d, nn.AdaptiveAvgPool2d, zennit.layer.Sum), zennit.rules.Norm),
    ]
    with torch.enable_grad(), zennit.core.Composite(rule_of).context(network):
        inputs = normalize(leaf(images, differentiable))
        logits: torch.Tensor = network(inputs)
        start = torch.zeros_like(logits).scatter(1, labels[:, None], logits.gather(1, labels[:, None]))
        start = start if differentiable else start.detach()
        (result,) = torch.autograd.grad(logits, inputs, start, create_graph=differentiable)
    relevance: torch.Tensor = result
    return relevance.sum_to_size(images.shape)  # a gray image gets relevance in three channels


def _zennit() -> Any:
    try:
        for part in ("core", "layer", "rules"):
            importlib.import_module(f"zennit.{part}")
        return importlib.import_module("zennit")  # after a failure, its parts are there and it is not
    except ImportError as error:
        raise ValueError("lrp needs zennit: pip install 'lensmetrics[generators]'") from error
    except RuntimeError as error:  # it imports torchvision
        raise ValueError(
            f"lrp needs zennit, which cannot be imported ({error}); install the torchvision that belongs to "
            f"torch {torch.__version__}"
        ) from error


_WITH_RULES = (nn.Conv2d, nn.Linear, nn.AvgPool2d, nn.AdaptiveAvgPool2d, *MAX_POOLS, *RESHAPING)
# (network, its first layers, the module of its normalization), traced once for each network
_NETWORKS: Derived[tuple[nn.Module, list[nn.Module], nn.Module]] = Derived()


def _for_lrp(model: nn.Module, zennit: Any) -> tuple[nn.Module, list[nn.Module], nn.Module]:
    """Return a network of modules that have rules, its first layers, and the module of its normalization.

    The modules are shared with `model`, except that batch norm is folded into new ones, additions become
    modules, and a module has a copy for each further use: zennit keeps one input for each.
    """
    name = type(model).__name__
    try:
        network = fx.GraphModule(model, Tracer().trace(model))
    except Exception as error:  # the network's code may fail in any way on fx's proxies
        raise ValueError(
            f"lrp cannot trace {name} ({first_line(error)}); use another explanation, or a network whose "
            "control flow does not depend on the images"
        ) from error
    separate_activations(network)
    graph = network.graph
    normalize: nn.Module = nn.Identity()
    of_sizes = sizes(graph)
    used: set[Any] = set()
    for node in list(graph.nodes):
        if node in of_sizes:
            continue
        if node.op == "call_module":
            _copy_if_used(network, node, used)
        module = network.get_submodule(node.target) if node.op == "call_module" else None
        if isinstance(module, Normalize) and node.args[0].op == "placeholder":
            normalize = module
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
        elif (
            node.target in (operator.add, torch.add, "add")
            and len(node.all_input_nodes) == 2
            and not node.kwargs
        ):
            with graph.inserting_before(node):
                equal = graph.call_function(torch.broadcast_tensors, node.args)
                stacked = graph.call_function(torch.stack, (equal, -1))
            network.add_submodule(f"{node.name}_sum", zennit.layer.Sum())
            node.op, node.target, node.args = "call_module", f"{node.name}_sum", (stacked,)
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and _fold(network, node, module):
            continue
        elif node.op not in ("placeholder", "output"):
            _check_rule(network, node, module, name)
    network.recompile()
    return network, _first_layers(network), normalize


def _check_rule(network: fx.GraphModule, node: fx.Node, module: nn.Module | None, name: str) -> None:
    """Refuse a step without a rule."""
    if isinstance(module, nn.Conv2d | nn.Linear) and not {"weight", "bias"} <= set(module._parameters):
        raise ValueError(
            f"lrp has no rule for {node.name} of {name}, because its weights are computed from others; make "
            "them parameters first, as torch.nn.utils.parametrize.remove_parametrizations does"
        )
    has_rule = module is not None and (isinstance(module, _WITH_RULES) or passes_relevance(module))
    is_ruled = has_rule and not overwrites(network, node)
    if not is_ruled and node.target not in (torch.cat, *RESHAPING_CALLS):
        raise ValueError(
            f"lrp has no rule for {node.name} of {name}: it knows convolutions, linear "
            "layers, batch norm directly after one, ReLU, softplus and piecewise-linear activations that "
            "never fall, pooling modules, additions of two branches and concatenations; use another "
            "explanation or network"
        )


def _copy_if_used(network: fx.GraphModule, node: fx.Node, used: set[Any]) -> None:
    """Let a module that was used before be a copy with the same weights."""
    if node.target in used:
        name = f"{node.name}_again"
        network.add_submodule(name, copy.deepcopy(network.get_submodule(str(node.target))))
        node.target = name
    used.add(node.target)


def _first_layers(network: fx.GraphModule) -> list[nn.Module]:
    """Return the layers that read the input, possibly reshaped."""
    unchanged = set()
    layers: list[nn.Module] = []
    for node in network.graph.nodes:
        module = network.get_submodule(node.target) if node.op == "call_module" else None
        is_first = node.op != "placeholder" and node.all_input_nodes[0] in unchanged
        if is_first and isinstance(module, nn.Conv2d | nn.Linear):
            layers.append(module)
        keeps = isinstance(module, RESHAPING) or node.target in RESHAPING_CALLS
        if node.op == "placeholder" or (is_first and keeps):
            unchanged.add(node)
    return layers


def _fold(network: fx.GraphModule, node: fx.Node, batch_norm: Any) -> bool:
    """Fold batch norm into the layer before it; return False if that is not linear or has other readers."""
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


LRP = Explanation(lrp, (FORM,))
