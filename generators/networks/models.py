"""Networks by name: own ones in ``MODELS``, and every classifier of torchvision.

A network takes images in [0, 1] and returns logits; what normalises them is its first layer.
"""

import copy
import operator
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import fx, nn
from torch.nn.functional import max_pool2d, relu, relu6, softplus

# The fast kernels of attention have no second derivative, which every directed attack needs.
torch.backends.cuda.enable_flash_sdp(False)
torch.backends.cuda.enable_mem_efficient_sdp(False)
torch.backends.cuda.enable_cudnn_sdp(False)


class MaxPool2x2(nn.Module):
    """2x2 max pooling that compares in float32: of values that agree so far, the first is taken.

    On a plain background whole windows hold one value up to rounding. Compared in full, which of them takes
    the gradient would change with the processor, and visibly move attributions from pixel to pixel.
    """

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Halve height and width."""
        _, first = max_pool2d(values.detach().float(), 2, return_indices=True)
        return values.flatten(2).gather(2, first.flatten(2)).reshape(first.shape)


class Normalize(nn.Module):
    """(images - mean) / std, per channel. Images of one channel become as many as `mean` has, all alike.

    Both stay out of ``state_dict``: they belong to the network and not to its training.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Normalised images."""
        return (images - self.mean) / self.std


class SoftReLU6(nn.Module):
    """softplus(x) - softplus(x - 6): what softplus is to ReLU, for ReLU6."""

    def __init__(self, beta: float) -> None:
        super().__init__()
        self.beta = beta

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Values in (0, 6)."""
        return softplus(values, self.beta) - softplus(values - 6, self.beta)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, which is a 1x1 convolution where the shape changes."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.shortcut = (
            nn.Identity()
            if (n_in, stride) == (n_out, 1)
            else nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))
        )
        self.relu2 = nn.ReLU()

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """The block's output."""
        inner = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(values)))))
        result: torch.Tensor = self.relu2(inner + self.shortcut(values))
        return result


def _cnn_28(conv1: int, conv2: int, fc: int, n_classes: int) -> nn.Sequential:
    """conv5x5 - pool - conv5x5 - pool - fc - fc for one-channel 28x28 inputs, as in RAR and LENS."""
    return nn.Sequential(
        nn.Conv2d(1, conv1, 5, padding=2),
        nn.ReLU(),
        MaxPool2x2(),
        nn.Conv2d(conv1, conv2, 5, padding=2),
        nn.ReLU(),
        MaxPool2x2(),
        nn.Flatten(),
        nn.Linear(conv2 * 7 * 7, fc),
        nn.ReLU(),
        nn.Linear(fc, n_classes),
    )


def small_cnn(n_classes: int = 10) -> nn.Module:
    """The published form with widths 16, 32 and 64: a checkpoint takes 460 KB and trains on a CPU."""
    return _cnn_28(16, 32, 64, n_classes)


def rar_cnn(n_classes: int = 10) -> nn.Module:
    """The published form with the published widths 32, 64 and 1024."""
    return _cnn_28(32, 64, 1024, n_classes)


def small_resnet(n_classes: int = 10) -> nn.Module:
    """ResNet-20 for small colour images, with average pooling over whatever size is left.

    Two deviations: shortcuts that change shape are 1x1 convolutions (the paper's option B), and images are
    normalised by mean and standard deviation 1/2.

    References
    ----------
    He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, section 4.2.
    """
    blocks = [
        ResidualBlock(16, 16, 1),
        *(ResidualBlock(16, 16, 1) for _ in range(2)),
        ResidualBlock(16, 32, 2),
        *(ResidualBlock(32, 32, 1) for _ in range(2)),
        ResidualBlock(32, 64, 2),
        *(ResidualBlock(64, 64, 1) for _ in range(2)),
    ]
    layers = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        *blocks,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, n_classes),
    )
    return normalized(Normalize([0.5] * 3, [0.5] * 3), layers)


MODELS: dict[str, Callable[..., nn.Module]] = {
    "small_cnn": small_cnn,
    "rar_cnn": rar_cnn,
    "small_resnet": small_resnet,
}


def normalized(normalize: Normalize, network: nn.Module) -> nn.Sequential:
    """`network` behind `normalize`, as modules of these names."""
    return nn.Sequential(OrderedDict(normalize=normalize, network=network))


def torchvision_models() -> Any:
    """The module ``torchvision.models``, imported when it is first needed.

    Raises
    ------
    ValueError
        If torchvision is not installed or does not fit the installed torch.
    """
    try:
        import torchvision.models
    except (ImportError, RuntimeError) as error:
        raise ValueError(
            f"torchvision cannot be imported ({error}); install the release of it that belongs to torch "
            f"{torch.__version__}, or use one of the own models {', '.join(MODELS)}"
        ) from error
    return torchvision.models


def model_names() -> list[str]:
    """The own networks, then every classifier of torchvision."""
    models = torchvision_models()
    return [*MODELS, *models.list_models(module=models)]


def build(name: str, n_classes: int) -> nn.Module:
    """A network with fresh weights; torchvision's are put behind the normalisation of their best weights.

    Raises
    ------
    ValueError
        If there is no network of that name, or torchvision is needed and missing.
    """
    if name in MODELS:
        return MODELS[name](n_classes)
    if name not in model_names():
        raise ValueError(f"there is no model {name!r}; known: {', '.join(model_names())}")
    models = torchvision_models()
    preset = models.get_model_weights(name).DEFAULT.transforms()
    # Their published weights undo the normalisation and want another one; the same for all weights here.
    inception = {"init_weights": True, "transform_input": True}
    more = inception if name in ("googlenet", "inception_v3") else {}
    network = models.get_model(name, weights=None, num_classes=n_classes, **more)
    return normalized(Normalize(preset.mean, preset.std), network)


def check_images(network: nn.Module, channels: int, height: int, width: int) -> None:
    """Try `network` on one black image, in evaluation mode.

    Raises
    ------
    ValueError
        If it cannot take images of that shape.
    """
    was_training = network.training
    parameter = next(network.parameters())
    image = torch.zeros((1, channels, height, width), dtype=parameter.dtype, device=parameter.device)
    try:
        with torch.no_grad():
            network.eval()(image)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise ValueError(
            f"the model cannot take images of {channels} x {height} x {width} (channels, height, width): "
            f"{_first_line(error)}; choose another --model or --image-size"
        ) from error
    finally:
        network.train(was_training)


def _first_line(error: Exception) -> str:
    return (str(error) or repr(error)).splitlines()[0]


_RELU_FUNCTIONS: dict[Any, Callable[[], nn.Module]] = {
    relu: nn.ReLU,
    torch.relu: nn.ReLU,
    torch.relu_: nn.ReLU,
    relu6: nn.ReLU6,
    "relu": nn.ReLU,
    "relu_": nn.ReLU,
}


def prepare(network: nn.Module) -> nn.Module:
    """`network` in evaluation mode, weights fixed, each ReLU a module of its own and nothing in place.

    Softplus copies, hooks and rules replace modules: a functional call would escape them, a module used
    twice would mix two places, and hooks fail on values that are overwritten. Such networks are rewritten
    with torch.fx, others are returned as they are. Weights are shared with `network`, which is used up.

    Raises
    ------
    ValueError
        If torch.fx cannot follow the network.
    """
    network.eval().requires_grad_(False)
    if isinstance(network, nn.Sequential) and isinstance(network[0], Normalize) and len(network) == 2:
        return normalized(network[0], prepare(network[1])).eval()  # `normalize` stays a module of its own
    try:
        traced = fx.symbolic_trace(network)
    except Exception as error:  # whatever the network's own code does with what is no tensor
        raise ValueError(
            f"{type(network).__name__} cannot be followed by torch.fx ({_first_line(error)}), so its "
            "ReLUs cannot be made modules; use a model without control flow that depends on the images"
        ) from error
    if not _separate_activations(traced):
        return network
    traced.delete_all_unused_submodules()
    traced.graph.lint()
    traced.recompile()
    return traced


def _separate_activations(traced: fx.GraphModule) -> bool:
    """Make each ReLU of the graph a module of its own and nothing in place; False where all was so."""
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
        if overwrites:  # who reads the overwritten value from here on reads this result
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
    """A copy of `model` with the same parameters and buffers (shared, not copied) and other modules.

    Each module for which `make` returns one is replaced by it; those for which it returns None stay.
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
    """A copy with shared weights whose ReLUs are softplus(x) = ln(1 + exp(beta x)) / beta.

    ReLU's second derivative is zero everywhere, so an attack on gradients needs this copy to see where to
    go. ReLU6 becomes softplus(x) - softplus(x - 6), a softplus takes the new beta, other activations stay.

    Raises
    ------
    ValueError
        If the model holds neither ReLU modules nor a smooth activation: an attack on the unchanged network
        would be weak without any sign of it (functional calls cannot be replaced; see `prepare`).
    """

    def soft(module: nn.Module) -> nn.Module | None:
        if isinstance(module, nn.ReLU | nn.Softplus):
            return nn.Softplus(beta)
        return SoftReLU6(beta) if isinstance(module, nn.ReLU6 | SoftReLU6) else None

    smooth = replaced(model, soft)
    if not any(isinstance(part, _SMOOTH) for part in smooth.modules()):
        raise ValueError(
            f"{type(model).__name__} has no ReLU module to replace by softplus and no smooth activation"
        )
    return smooth


def set_beta(smooth: nn.Module, beta: float) -> None:
    """Change beta of every softplus of a copy that `with_softplus` made."""
    for part in smooth.modules():
        if isinstance(part, nn.Softplus | SoftReLU6):
            part.beta = beta
