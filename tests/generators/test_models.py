"""Networks defined here and in torchvision, separate activations, softplus copies, all kinds of weights."""

import copy
import hashlib
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from generators.commands import use_device
from generators.networks import activations, checkpoints, kinks, models
from generators.networks.models import MaxPool2x2, Normalize
from generators.networks.squeezenet import SqueezeNet

torchvision = pytest.importorskip("torchvision")


@pytest.fixture(scope="module")
def network() -> Any:
    torch.manual_seed(3)
    return models.small_cnn().double().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def images() -> Any:
    return random_images(6, 1, 28, torch.float64)


def random_images(n: int, channels: int, size: int, dtype: Any = torch.float32) -> Any:
    random = torch.Generator().manual_seed(4)
    return torch.rand((n, channels, size, size), generator=random, dtype=dtype)


def built(name: str, n_classes: int) -> Any:
    torch.manual_seed(1)
    return models.build(name, n_classes).eval()


def relus(network: Any) -> list[Any]:
    return [part for part in network.modules() if isinstance(part, nn.ReLU | nn.ReLU6)]


def test_max_pooling_is_max_pooling(images: Any) -> None:
    torch.testing.assert_close(MaxPool2x2()(images), nn.MaxPool2d(2)(images))


@pytest.mark.parametrize("noise", [-1e-15, 0.0, 1e-15])
def test_rounding_does_not_move_the_gradient_of_pooling(noise: float) -> None:
    window = torch.tensor([[0.7, 0.7 + noise], [0.1, 0.7 - noise]], dtype=torch.float64)[None, None]
    window.requires_grad_(True)
    (found,) = torch.autograd.grad(MaxPool2x2()(window).sum(), window)
    assert found.flatten().tolist() == [1, 0, 0, 0]


def test_normalization_is_per_channel_and_not_in_the_state() -> None:
    normalize = Normalize([0.5, 0.25], [2.0, 0.5])
    image = torch.ones((1, 2, 1, 1))
    assert normalize(image).flatten().tolist() == [0.25, 1.5]
    assert normalize(image[:, :1]).flatten().tolist() == [0.25, 1.5]  # one channel is repeated
    assert not normalize.state_dict()
    assert normalize.double()(image.double()).dtype == torch.float64


def test_published_widths() -> None:
    state = models.build("rar_cnn", 10).state_dict()
    assert [tuple(weight.shape) for name, weight in state.items() if "weight" in name] == [
        (32, 1, 5, 5),
        (64, 32, 5, 5),
        (1024, 3136),
        (10, 1024),
    ]


def test_small_resnet_has_the_published_depth_and_takes_both_sizes() -> None:
    network = built("small_resnet", 17)
    layers = [part for part in network.modules() if isinstance(part, nn.Conv2d | nn.Linear)]
    assert sum(getattr(part, "kernel_size", None) != (1, 1) for part in layers) == 20
    n_weights = sum(parameter.numel() for parameter in network.parameters())
    assert n_weights == pytest.approx(0.27e6, abs=0.01e6)
    for size in (32, 128):
        assert network(random_images(2, 3, size)).shape == (2, 17)


def test_names_are_own_networks_and_torchvision_classifiers() -> None:
    names = models.model_names()
    assert names[: len(models.MODELS)] == list(models.MODELS)
    assert len(set(names)) == len(names)
    assert {"squeezenet1_1", "resnet18", "resnet50", "vgg16", "alexnet", "densenet121"} <= set(names)
    assert "fasterrcnn_resnet50_fpn" not in names


def test_normalization_is_that_of_the_published_weights() -> None:
    normalize: Any = models.build("squeezenet1_1", 5).get_submodule("normalize")
    torch.testing.assert_close(normalize.mean.flatten(), torch.tensor([0.485, 0.456, 0.406]))
    torch.testing.assert_close(normalize.std.flatten(), torch.tensor([0.229, 0.224, 0.225]))


def test_squeezenet_is_that_of_torchvision() -> None:
    """The same names, shapes and initial weights, and the same logits with and without gradients."""
    torch.manual_seed(4)
    here = SqueezeNet(7).eval()
    torch.manual_seed(4)
    there = torchvision.models.squeezenet1_1(weights=None, num_classes=7).eval()
    state = there.state_dict()
    assert list(here.state_dict()) == list(state)
    assert all(torch.equal(value, state[name]) for name, value in here.state_dict().items())
    for size in (64, 99, 227):  # also where a pooling window hangs over the border
        images = random_images(2, 3, size).requires_grad_(True)
        assert torch.equal(here(images), there(images))
        found, expected = (torch.autograd.grad(network(images).sum(), images)[0] for network in (here, there))
        assert torch.equal(found, expected)


def test_squeezenet_needs_no_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    network = activations.prepare(models.build("squeezenet1_1", 5))
    assert network(random_images(2, 3, 64)).shape == (2, 5)
    assert_separate(network, random_images(2, 3, 64), 26)


def test_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match="'resnet19' is no name; did you mean resnet18 or "):
        models.build("resnet19", 10)


def test_missing_torchvision_gives_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    with pytest.raises(ValueError, match=r"torchvision cannot be imported .* install the release"):
        models.build("resnet18", 10)
    assert models.build("small_cnn", 10)


def test_images_that_a_network_cannot_take_are_refused() -> None:
    network = models.build("small_cnn", 10)
    models.check_images(network, 1, 28, 28)
    assert network.training
    with pytest.raises(ValueError, match=r"cannot take images of 3 x 28 x 28 .*--image-size"):
        models.check_images(network, 3, 28, 28)
    with pytest.raises(ValueError, match="cannot take images of 3 x 8 x 8"):
        models.check_images(models.build("squeezenet1_1", 10), 3, 8, 8)


class CountRelus(TorchFunctionMode):
    """Counts calls of every function that is a ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if "relu" in function.__name__:
            self.calls[function.__name__] += 1
        return function(*args, **(kwargs or {}))


def assert_separate(network: Any, images: Any, n_relus: int) -> None:
    """Each ReLU that runs is a module that runs once, and nothing is in place."""
    ran: Counter[Any] = Counter()
    hooks = [part.register_forward_hook(lambda part, *_: ran.update([part])) for part in relus(network)]
    with torch.no_grad(), CountRelus() as count:
        network(images)
    for hook in hooks:
        hook.remove()
    assert len(ran) == n_relus
    assert set(ran.values()) == {1}
    assert count.calls.total() == sum(isinstance(part, nn.ReLU) for part in ran)  # ReLU6 calls hardtanh
    assert not any(getattr(part, "inplace", False) for part in network.modules())


@pytest.mark.parametrize(
    ("name", "n_relus"),
    [
        ("squeezenet1_1", 26),
        ("resnet18", 17),
        ("resnet50", 49),
        ("vgg16", 15),
        ("alexnet", 7),
        ("densenet121", 121),
        ("mobilenet_v2", 35),
    ],
)
def test_prepared_networks_have_the_same_outputs(name: str, n_relus: int) -> None:
    network, images = built(name, 10), random_images(2, 3, 64)
    with torch.no_grad():
        expected = network(images)
    state = network.state_dict()
    prepared = activations.prepare(network)
    assert_separate(prepared, images, n_relus)
    with torch.no_grad():
        assert torch.equal(prepared(images), expected)
    assert prepared.state_dict().keys() == state.keys()
    assert not prepared.training
    assert not any(parameter.requires_grad for parameter in prepared.parameters())
    assert isinstance(prepared.get_submodule("normalize"), Normalize)


class Careless(nn.Module):
    """Every way to write a ReLU, and values that are overwritten and read again."""

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU(inplace=True)
        self.clip = nn.ReLU6()
        self.linear = nn.ModuleList([nn.Linear(4, 4) for _ in range(6)])
        self.drop = nn.Dropout(0.5)

    def forward(self, values: Any) -> Any:
        a = self.linear[0](values)
        self.relu(a)  # its result is unused: the value is in `a`
        b = self.linear[1](a)
        c = functional.relu(b, inplace=True) + b
        d = self.linear[2](c).relu()
        e = torch.relu(self.linear[3](d))
        e += torch.relu_(self.linear[4](d))
        f = self.clip(self.linear[5](20 * e))
        g = self.clip(functional.relu6(f - 1) + self.relu(f - 2))
        return self.drop(g + f.relu_() + e)


def test_each_way_to_write_a_relu_becomes_a_module() -> None:
    torch.manual_seed(2)
    network = Careless().eval()
    values = torch.randn((64, 4), generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        expected = network(values)
    prepared = activations.prepare(network)
    assert_separate(prepared, values, 10)
    for part in prepared.modules():  # fails where a value is overwritten
        part.register_full_backward_hook(lambda *_: None)
    found = prepared(values.clone().requires_grad_(True))
    found.sum().backward()
    assert torch.equal(found.detach(), expected)
    smooth = activations.with_softplus(prepared)
    assert not relus(smooth)
    assert sum(isinstance(part, nn.Softplus | kinks.Soft) for part in smooth.modules()) == 10


def test_networks_of_separate_modules_are_unchanged(network: Any) -> None:
    assert activations.prepare(network) is network
    resnet = built("small_resnet", 10)
    inner = resnet.get_submodule("network")
    prepared = activations.prepare(resnet)
    assert prepared.get_submodule("network") is inner
    assert_separate(prepared, random_images(2, 3, 32), 19)


def test_copies_share_weights_and_leave_the_model_alone() -> None:
    prepared = activations.prepare(built("resnet18", 10))
    n_relus = len(relus(prepared))
    smooth = activations.with_softplus(prepared)
    pairs = (
        (dict(prepared.named_parameters()), dict(smooth.named_parameters())),
        (dict(prepared.named_buffers()), dict(smooth.named_buffers())),
    )
    for ours, theirs in pairs:
        assert ours.keys() == theirs.keys()
        assert all(theirs[name] is tensor for name, tensor in ours.items())
    assert n_relus == len(relus(prepared)) == 17
    assert not relus(smooth)
    assert smooth is not prepared


def test_copy_follows_training_of_the_model() -> None:
    network = models.small_cnn()
    smooth = activations.with_softplus(network)
    smooth(random_images(2, 1, 28)).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    with torch.no_grad():
        next(network.parameters()).add_(1)
    assert torch.equal(next(smooth.parameters()), next(network.parameters()))


def test_only_what_is_named_is_replaced(network: Any, images: Any) -> None:
    def make(module: nn.Module) -> nn.Module | None:
        return nn.MaxPool2d(2) if isinstance(module, MaxPool2x2) else None

    other = activations.replaced(network, make)
    assert [type(part) for part in other.children()][2:6:3] == [nn.MaxPool2d, nn.MaxPool2d]
    assert sum(isinstance(part, MaxPool2x2) for part in network.modules()) == 2
    torch.testing.assert_close(other(images), network(images))


def test_softplus_replaces_every_relu_of_a_copy(network: Any) -> None:
    smooth = activations.with_softplus(network)
    assert not relus(smooth)
    assert len(relus(network)) == 3


def test_softplus_is_the_published_one() -> None:
    x = torch.linspace(-3, 9, 25, dtype=torch.float64)
    smooth = activations.with_softplus(nn.Sequential(nn.ReLU()), 0.8)
    torch.testing.assert_close(smooth(x), torch.log1p(torch.exp(0.8 * x)) / 0.8)
    clipped = activations.with_softplus(nn.Sequential(nn.ReLU6()), 0.8)
    expected = (torch.log1p(torch.exp(0.8 * x)) - torch.log1p(torch.exp(0.8 * (x - 6)))) / 0.8
    torch.testing.assert_close(clipped(x), expected)


@pytest.mark.parametrize("relu", [nn.ReLU(), nn.ReLU6()])
def test_beta_can_be_changed_later(relu: Any) -> None:
    x = torch.linspace(-3, 9, 25, dtype=torch.float64)
    model = nn.Sequential(relu)
    smooth = activations.with_softplus(model, 1.0)
    activations.set_beta(smooth, 1e4)
    torch.testing.assert_close(smooth(x), model(x), atol=1e-4, rtol=0)
    activations.set_beta(smooth, 2.0)
    torch.testing.assert_close(smooth(x), activations.with_softplus(model, 2.0)(x), atol=0, rtol=0)
    again = activations.with_softplus(smooth, 5.0)
    torch.testing.assert_close(again(x), activations.with_softplus(model, 5.0)(x), atol=0, rtol=0)
    torch.testing.assert_close(smooth(x), activations.with_softplus(model, 2.0)(x), atol=0, rtol=0)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def logits(network: Any, images: Any) -> Any:
    with torch.no_grad():
        return network(images)


def fresh(name: str, n_classes: int) -> Any:
    """A network of torchvision with batch normalization that is not the identity."""
    torch.manual_seed(6)
    network = torchvision.models.get_model(name, weights=None, num_classes=n_classes).eval()
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean = torch.rand(part.num_features) / 10
    return network


def behind_imagenet(network: Any) -> Any:
    return nn.Sequential(Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]), network).eval()


def test_own_checkpoint_round_trip(tmp_path: Path) -> None:
    network, path = built("resnet18", 43), tmp_path / "one.pt"
    facts: dict[str, Any] = dict.fromkeys(checkpoints.KEYS, "known")
    facts |= {"dataset": "gtsrb", "model": "resnet18", "regime_settings": {"eps": 0.1}}
    checkpoints.save(path, network, facts)
    images = random_images(2, 3, 32)
    expected = logits(network, images)
    found, known = checkpoints.load(path, dataset="gtsrb", model="resnet18")
    assert known == {**facts, "sha256": sha256(path)}
    assert torch.equal(logits(found, images), expected)
    assert not list(tmp_path.glob("*.part"))


def test_weights_from_arrays(tmp_path: Path) -> None:
    network, images = fresh("squeezenet1_1", 1000), random_images(2, 3, 64)
    path = tmp_path / "weights.npz"
    np.savez(
        path, allow_pickle=False, **{name: value.numpy() for name, value in network.state_dict().items()}
    )
    found, facts = checkpoints.load(path, dataset="imagenet", model="squeezenet1_1")
    assert facts == {"training": None, "sha256": sha256(path)}
    assert torch.equal(logits(found, images), logits(behind_imagenet(network), images))
    assert_separate(found, images, 26)


@pytest.mark.parametrize("key", [None, "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_state_dicts_plain_wrapped_and_parallel(tmp_path: Path, key: str | None, prefix: str) -> None:
    network, images = fresh("resnet18", 10), random_images(2, 3, 32)
    # Files older than BatchNorm's count of batches have none.
    state = {
        prefix + name: value for name, value in network.state_dict().items() if "num_batches" not in name
    }
    torch.save(state if key is None else {key: state, "epoch": 3}, tmp_path / "weights.pth")
    found, facts = checkpoints.load(tmp_path / "weights.pth", dataset="cifar10", model="resnet18")
    assert facts == {"training": None, "sha256": sha256(tmp_path / "weights.pth")}
    assert torch.equal(logits(found, images), logits(behind_imagenet(network), images))


def test_state_dict_of_an_own_network(tmp_path: Path) -> None:
    network, images = built("small_resnet", 17), random_images(2, 3, 32)
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    expected = logits(network, images)
    found, _ = checkpoints.load(tmp_path / "weights.pt", dataset="flower17", model="small_resnet")
    assert torch.equal(logits(found, images), expected)


def test_names_of_old_densenet_files(tmp_path: Path) -> None:
    network, images = fresh("densenet121", 10), random_images(2, 3, 32)
    state = {
        name.replace(".norm1.", ".norm.1.").replace(".conv2.", ".conv.2."): value
        for name, value in network.state_dict().items()
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in state
    torch.save(state, tmp_path / "weights.pth")
    found, _ = checkpoints.load(tmp_path / "weights.pth", dataset="cifar10", model="densenet121")
    assert torch.equal(logits(found, images), logits(behind_imagenet(network), images))


@pytest.mark.parametrize("key", ["model", "state_dict"])
def test_robustness_checkpoint_contains_its_normalization(tmp_path: Path, key: str) -> None:
    network, images = fresh("resnet18", 10), random_images(2, 3, 32)
    mean, std = [0.1, 0.2, 0.3], [0.5, 0.6, 0.7]
    state = {"module.normalizer.new_mean": torch.tensor(mean)[:, None, None]}
    state["module.normalizer.new_std"] = torch.tensor(std)[:, None, None]
    state |= {f"module.model.{name}": value for name, value in network.state_dict().items()}
    state |= {f"module.attacker.model.{name}": value for name, value in network.state_dict().items()}
    state |= {f"module.attacker.{name[7:]}": state[name] for name in list(state)[:2]}
    torch.save({key: state, "epoch": 90, "optimizer": {}}, tmp_path / "robust.pt")
    found, facts = checkpoints.load(tmp_path / "robust.pt", dataset="cifar10", model="resnet18")
    assert facts == {"training": None, "sha256": sha256(tmp_path / "robust.pt")}
    expected = nn.Sequential(Normalize(mean, std), network).eval()
    assert torch.equal(logits(found, images), logits(expected, images))
    assert_separate(found, images, 17)


def test_weights_of_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    network, images = fresh("squeezenet1_1", 1000), random_images(2, 3, 64)
    asked = []

    def get_model(name: str, **options: Any) -> Any:
        asked.append(options.get("weights"))
        return copy.deepcopy(network)

    monkeypatch.setattr(torchvision.models, "get_model", get_model)
    found, facts = checkpoints.load("torchvision", dataset="imagenet", model="squeezenet1_1")
    assert asked == [torchvision.models.SqueezeNet1_1_Weights.DEFAULT]
    assert torch.equal(logits(found, images), logits(behind_imagenet(network), images))
    state = network.state_dict()
    content = b"".join(state[name].numpy().tobytes() for name in sorted(state))
    assert facts == {"training": None, "sha256": hashlib.sha256(content).hexdigest()}
    with pytest.raises(ValueError, match="1000 classes, but gtsrb has 43"):
        checkpoints.load(Path("torchvision"), dataset="gtsrb", model="squeezenet1_1")
    with pytest.raises(ValueError, match="no weights for small_cnn"):
        checkpoints.load("torchvision", dataset="mnist", model="small_cnn")


def test_weights_that_do_not_fit_give_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save(fresh("squeezenet1_1", 1000).state_dict(), path)
    with pytest.raises(ValueError, match="are for 1000 classes, but the dataset has 43") as first:
        checkpoints.load(path, dataset="gtsrb", model="squeezenet1_1")
    with pytest.raises(
        ValueError, match=r"missing: conv1.weight and 101 more; unexpected: features.0"
    ) as second:
        checkpoints.load(path, dataset="imagenet", model="resnet18")
    with pytest.raises(ValueError, match=r"shape mismatch: features.0.weight") as third:
        checkpoints.load(path, dataset="imagenet", model="squeezenet1_0")
    assert all(
        "\n" not in str(error.value) and len(str(error.value)) < 400 for error in (first, second, third)
    )


class Executes:
    """Leaves a mark when it is unpickled by something that runs code."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def test_no_code_in_a_file_is_run(tmp_path: Path) -> None:
    torch.save({"model": Executes(tmp_path / "mark")}, tmp_path / "code.pt")
    with pytest.raises(
        ValueError, match=r"without running code in it; if you trust it, .* save its state dict"
    ):
        checkpoints.load(tmp_path / "code.pt", dataset="mnist", model="small_cnn")
    array = np.array([Executes(tmp_path / "mark")], dtype=object)
    np.savez(tmp_path / "code.npz", allow_pickle=True, weight=array)
    with pytest.raises(ValueError, match="cannot be read as arrays"):
        checkpoints.load(tmp_path / "code.npz", dataset="mnist", model="small_cnn")
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ([1, 2], "contains a list, not a dictionary"),
        ({"state_dict": {}}, "contains no weights"),
        ({"epoch": 3}, "nor a dictionary of weights"),
    ],
)
def test_files_without_weights_are_refused(tmp_path: Path, content: Any, sentence: str) -> None:
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=sentence):
        checkpoints.load(tmp_path / "other.pt", dataset="mnist", model="small_cnn")


def test_damaged_and_missing_files_are_refused(tmp_path: Path) -> None:
    for name, sentence in (("cut.pt", "is not a checkpoint"), ("cut.npz", "cannot be read as arrays")):
        for content in (b"", b"text", b"PK\x03\x04 cut off"):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(ValueError, match=sentence):
                checkpoints.load(tmp_path / name, dataset="mnist", model="small_cnn")
    with pytest.raises(FileNotFoundError, match="or the word torchvision"):
        checkpoints.load(tmp_path / "none.pt", dataset="mnist", model="small_cnn")


def test_attention_has_a_second_derivative() -> None:
    """The fast kernels that torch prefers have none; the commands switch them off."""
    use_device("cpu")
    query, key, value = (torch.rand((1, 2, 5, 4), requires_grad=True) for _ in range(3))
    (first,) = torch.autograd.grad(
        functional.scaled_dot_product_attention(query, key, value).sum(), query, create_graph=True
    )
    (second,) = torch.autograd.grad(first.square().sum(), query)
    assert second.abs().max() > 0
