"""Piecewise-linear activations in every form: separate modules, smooth copies, and what is refused."""

import copy
import gc
import math
import weakref
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from generators.attacks import ATTACKS
from generators.explanations import abs_sum, beta_smooth, deep_lift, gradient, guided_backprop, lrp
from generators.networks import activations, kinks
from generators.networks.activations import prepare, set_beta, softened, with_softplus
from generators.networks.derived import Derived
from generators.networks.models import MaxPool2x2
from generators.networks.smoothness import check_not_linear, check_softened

# Each activation as module, and in the forms in which code calls it.
MODULES: dict[str, Any] = {
    "relu": nn.ReLU(),
    "relu6": nn.ReLU6(),
    "leaky_relu": nn.LeakyReLU(0.1),
    "rrelu": nn.RReLU(),
    "prelu": nn.PReLU(6, 0.3),
    "hardtanh": nn.Hardtanh(-0.3, 0.4),
    "hardsigmoid": nn.Hardsigmoid(),
    "hardswish": nn.Hardswish(inplace=True),
    "threshold": nn.Threshold(0.2, 0.2),
    "softshrink": nn.Softshrink(0.2),
}
CALLS: dict[str, Any] = {
    "relu": [
        functional.relu,
        torch.relu,
        lambda x: x.relu(),
        lambda x: x.clone().relu_(),
        lambda x: functional.relu(x, True),
    ],
    "relu6": [functional.relu6, lambda x: functional.relu6(input=x)],
    "leaky_relu": [lambda x: functional.leaky_relu(x, 0.1), lambda x: functional.leaky_relu_(x + 0, 0.1)],
    "rrelu": [functional.rrelu, torch.rrelu],
    "hardtanh": [lambda x: functional.hardtanh(x, min_val=-0.3, max_val=0.4)],
    "hardsigmoid": [functional.hardsigmoid],
    "hardswish": [lambda x: functional.hardswish(x, inplace=True), lambda x: x * functional.relu6(x + 3) / 6],
    "threshold": [lambda x: functional.threshold(x, 0.2, 0.2)],
    "softshrink": [lambda x: functional.softshrink(x, 0.2)],
    "clamp": [
        lambda x: x.clamp(-0.3, 0.4),
        lambda x: torch.clip(x, min=-0.3, max=0.4),
        lambda x: x.clone().clamp_(-0.3, max=0.4),
    ],
    "clamp_min": [
        lambda x: x.clamp(min=0.1),
        lambda x: x.clamp_min(0.1),
        lambda x: torch.clamp_min(x, min=0.1),
    ],
    "clamp_max": [lambda x: x.clamp(max=0.1), lambda x: torch.clamp_max(x, 0.1)],
    "abs": [torch.abs, lambda x: x.abs(), abs],
    "maximum": [
        lambda x: torch.maximum(x, 0.1 * x),
        lambda x: torch.max(x, 0.1 * x),
        lambda x: x.max(torch.zeros_like(x)),
    ],
    "minimum": [lambda x: torch.minimum(x, 0.1 * x), lambda x: torch.min(0.1 * x, other=x)],
}
FORMS = {f"{name}-module": module for name, module in MODULES.items()}
FORMS |= {f"{name}-{i}": call for name, calls in CALLS.items() for i, call in enumerate(calls)}


class Between(nn.Module):
    """An activation between two linear layers."""

    def __init__(self, activation: Any) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 6), nn.Linear(6, 3)
        self.activation = copy.deepcopy(activation)

    def forward(self, images: Any) -> Any:
        return self.last(self.activation(self.first(images.flatten(1))))


def network_of(activation: Any) -> Any:
    torch.manual_seed(5)
    return Between(activation).double().eval().requires_grad_(False)


def images_of(n: int = 5) -> Any:
    random = torch.Generator().manual_seed(4)
    return torch.randn((n, 1, 2, 2), generator=random, dtype=torch.float64)


def smooth_parts(model: Any) -> list[Any]:
    return [part for part in model.modules() if isinstance(part, kinks.SOFT)]


@pytest.mark.parametrize("form", FORMS)
def test_each_form_is_softened_and_its_gradient_has_a_gradient(form: str) -> None:
    network, images = network_of(FORMS[form]), images_of()
    expected = network(images)
    prepared = prepare(network)
    assert torch.equal(prepared(images), expected)
    check_softened(prepared, images)
    check_not_linear(prepared, images)
    assert len(smooth_parts(with_softplus(prepared))) == 1
    steep = with_softplus(prepared, 1e6)
    torch.testing.assert_close(steep(images), expected, rtol=0, atol=1e-5)
    assert torch.equal(prepared(images), expected)

    labels, weights = torch.tensor([0, 1, 2, 0, 1]), torch.randn(images.shape[:1] + images.shape[2:]).double()
    smooth = with_softplus(prepared, 3.0)

    def loss(at: Any) -> Any:
        maps = abs_sum(gradient(smooth, at, labels, differentiable=True))
        return (weights * maps).sum()

    at = images.clone().requires_grad_(True)
    (found,) = torch.autograd.grad(loss(at), at)
    direction, step = torch.randn_like(images), 1e-5
    measured = (loss(images + step * direction) - loss(images - step * direction)) / (2 * step)
    assert float(found.abs().max()) > 1e-4
    assert abs(float((found * direction).sum() / measured.detach()) - 1) < 1e-4


def test_functional_prelu_shares_its_weight() -> None:
    class Weighted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.slope = nn.Parameter(torch.full((6,), 0.3))

        def forward(self, values: Any) -> Any:
            return functional.prelu(values, self.slope)

    network, images = network_of(Weighted()), images_of()
    expected = network(images)
    prepared = prepare(network)
    assert torch.equal(prepared(images), expected)
    check_softened(prepared, images)
    (soft,) = smooth_parts(with_softplus(prepared))
    assert soft.weight is network.activation.slope


def test_leaky_relu_is_softened_as_published() -> None:
    x = torch.linspace(-200, 200, 81, dtype=torch.float64)
    smooth = with_softplus(nn.Sequential(nn.LeakyReLU(0.1)), 2.0)
    expected = 0.1 * x + 0.9 * torch.logaddexp(torch.zeros_like(x), 2 * x) / 2
    torch.testing.assert_close(smooth(x), expected, rtol=1e-8, atol=1e-8)
    weights: Any = nn.Sequential(nn.PReLU(3)).double().requires_grad_(False)
    weights[0].weight.copy_(torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64))
    found = with_softplus(weights, 2.0)(x[:, None].expand(-1, 3))
    torch.testing.assert_close(found[:, 0], expected, rtol=1e-8, atol=1e-8)
    assert set(with_softplus(weights).state_dict()) == set(weights.state_dict())


@pytest.mark.parametrize("name", [*MODULES, "clamp", "abs"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_smooth_forms_are_safe_far_from_the_kinks(name: str, dtype: Any) -> None:
    others = {"clamp": kinks.Clamp(-0.3, 0.4), "abs": kinks.Abs()}
    model = nn.Sequential(copy.deepcopy((MODULES | others)[name])).to(dtype).eval().requires_grad_(False)
    x = (
        torch.tensor([-3e3, -60.0, 60.0, 3e3], dtype=dtype)[:, None]
        .expand(-1, 6)
        .clone()
        .requires_grad_(True)
    )
    smooth = with_softplus(model, 1.0)(x)
    torch.testing.assert_close(smooth, model(x.detach().clone()), rtol=1e-3, atol=1e-5)
    (first,) = torch.autograd.grad(smooth.sum(), x, create_graph=True)
    assert first.isfinite().all()
    assert torch.autograd.grad(first.sum(), x)[0].isfinite().all()


class Squared(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Any) -> Any:
        ctx.save_for_backward(values)
        return values**2

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> Any:
        return 2 * ctx.saved_tensors[0] * upstream


squared: Any = Squared.apply

REFUSED = {
    "hardshrink": functional.hardshrink,
    "threshold": lambda x: functional.threshold(x, 0.2, 0.0),
    "where": lambda x: torch.where(x > 0, x, 0.1 * x),
    "sign": lambda x: x * x.sign(),
    "round": lambda x: x + x.round(),
    "gt": lambda x: x * (x > 0),
    "lt": lambda x: x.masked_fill(x < 0, 0.0),
    "detach": lambda x: x * x.detach(),
    "relu": lambda x: functional.relu(x) if x.sum() > 99 else x.relu().tanh(),
    "max": lambda x: x.reshape(-1, 2, 3).max(1)[0].repeat(1, 2).tanh(),
    "amax": lambda x: x.reshape(-1, 2, 3, 1).amax(1)[:, :, 0].repeat(1, 2).tanh(),
    "amin": lambda x: x * x.amin(1, keepdim=True),
    "sort": lambda x: x.sort(1)[0].tanh(),
    "topk": lambda x: x.topk(3, 1)[0].repeat(1, 2).tanh(),
    "argmax": lambda x: x.tanh().gather(1, x.argmax(1, keepdim=True)).repeat(1, 6),
    "argmin": lambda x: x.tanh()[:, x[0].argmin()[None]].repeat(1, 6),
    "clampmin": lambda x: functional.normalize(x, dim=1, eps=3.0),  # some norms are smaller
    "linalgvectornorm": lambda x: functional.normalize(x, 1.0, 1),
    "the autograd function Squared": lambda x: squared(x) + functional.gelu(x),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_softened_is_refused_by_name(name: str) -> None:
    prepared, images = prepare(network_of(REFUSED[name])), images_of()
    remedy = "a maximum over height and width as" if "max" in name[:4] else "it as one of torch's"
    sentence = f"^{name} in .* has no smooth form, so an attack would be weak: write {remedy}"
    for _ in range(2):  # a refusal is not remembered as a success
        with pytest.raises(ValueError, match=sentence):
            check_softened(prepared, images)
    labels = torch.zeros(5, dtype=torch.int64)
    with pytest.raises(ValueError, match=sentence):
        beta_smooth(prepared, images, labels)
    with pytest.raises(ValueError, match=sentence):
        ATTACKS["topk"](
            prepared, images, labels, [], explanation=gradient, eps=0.1, steps=1, step_size=0.1, attack_k=1
        )


PASSING = {
    "gelu by conditions": lambda x: functional.gelu(x) if x.sum() > 0 else functional.silu(x),
    "max pooling": lambda x: functional.max_pool1d(x[:, None], 3)[:, 0].repeat(1, 3).tanh(),
    "largest over space": lambda x: x.reshape(-1, 2, 3, 1).amax((2, 3)).repeat(1, 3).tanh(),
    "own max pooling": lambda x: MaxPool2x2()(x.tanh().reshape(-1, 1, 2, 3)).reshape(-1, 1).repeat(1, 6),
    "a bound of norms": lambda x: functional.normalize(x, dim=1),
    "a bound of norms and padding": lambda x: functional.normalize(
        functional.pad(x.reshape(-1, 2, 3), (0, 0, 0, 1)), dim=2
    )[:, :2].flatten(1),
    "cosine": lambda x: functional.cosine_similarity(x[:, :3], x[:, 3:])[:, None].repeat(1, 6),
    "a mask that is fixed": lambda x: torch.where(torch.arange(6) > 2, x.sin(), 0.0),
    "zeros beside it": lambda x: torch.cat([x[:, :3], torch.zeros_like(x[:, 3:])], 1).sigmoid(),
}


@pytest.mark.parametrize("name", PASSING)
def test_smooth_code_and_max_pooling_pass(name: str) -> None:
    prepared, images = prepare(network_of(PASSING[name])), images_of()
    check_softened(prepared, images)
    check_not_linear(prepared, images)
    assert torch.equal(with_softplus(prepared)(images), prepared(images))


class Twice(nn.Module):
    """Uses one module under two names; with `looks` in code that torch.fx cannot trace."""

    def __init__(self, module: nn.Module, looks: bool) -> None:
        super().__init__()
        self.one, self.other, self.looks = module, module, looks

    def forward(self, values: Any) -> Any:
        if self.looks and values.sum() > 99:
            return values
        return self.other(self.one(values) - 0.1)


@pytest.mark.parametrize("looks", [False, True], ids=["traceable", "untraceable"])
@pytest.mark.parametrize(
    "module",
    [nn.ReLU(), nn.ReLU(inplace=True), nn.PReLU(6, 0.3), nn.Sequential(nn.Linear(6, 6), nn.ReLU())],
    ids=["relu", "relu in place", "prelu", "block"],
)
def test_a_module_of_two_names_is_softened_in_both_places(module: Any, looks: bool) -> None:
    network, images = network_of(Twice(module, looks)), images_of()
    expected = network(images)
    prepared = prepare(network)
    check_softened(prepared, images)
    torch.testing.assert_close(with_softplus(prepared, 1e7)(images), expected, rtol=0, atol=1e-6)


def test_untraceable_code_is_softened_where_it_uses_modules() -> None:
    class Looks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.relu = nn.ReLU()

        def forward(self, values: Any) -> Any:
            return self.relu(values) if values.sum() < 99 else values

    network = network_of(Looks())
    assert prepare(network) is network
    check_softened(network, images_of())
    assert len(smooth_parts(with_softplus(network))) == 1


def test_module_that_only_works_in_place_is_refused() -> None:
    with pytest.raises(ValueError, match="with softplus does not approach itself with ReLU"):
        check_softened(prepare(network_of(InPlace())), images_of())


def test_linear_networks_are_refused_by_attacks() -> None:
    network = network_of(nn.Identity())
    check_softened(network, images_of())
    with pytest.raises(ValueError, match="the gradient of Between is the same for all images"):
        ATTACKS["topk"](
            network,
            images_of(),
            torch.zeros(5, dtype=torch.int64),
            [],
            explanation=gradient,
            eps=0.1,
            steps=1,
            step_size=0.1,
            attack_k=1,
        )


def test_steps_without_a_derivative_are_refused_in_one_sentence() -> None:
    once = prepare(network_of(lambda x: torch.tanh(x, out=torch.empty_like(x))))
    with pytest.raises(
        ValueError, match=r"^Between has no gradient: tanh\(\): functions with out=.*; write that"
    ):
        check_softened(once, images_of())
    twice = prepare(network_of(lambda x: torch.cdist(x, x.roll(1, 0))[:, :1].repeat(1, 6)))
    check_softened(twice, images_of())
    with pytest.raises(ValueError, match=r"^Between has no second derivative: .*cdist.*; write that step"):
        check_not_linear(twice, images_of())


def test_the_network_itself_is_attacked_unchecked() -> None:
    prepared = prepare(network_of(REFUSED["where"]))
    ATTACKS["topk"].check(prepared, images_of(), {"softening": (math.inf,)})
    ATTACKS["random_sign"].check(prepared, images_of(), {})
    with pytest.raises(ValueError, match="where"):
        ATTACKS["topk"].check(prepared, images_of(), {"softening": (math.inf, 3.0)})


def test_a_softplus_of_the_network_itself_stays() -> None:
    model = nn.Sequential(nn.Softplus(7.0), nn.ReLU())
    smooth: Any = with_softplus(model, 2.0)
    set_beta(smooth, 3.0)
    assert [part.beta for part in smooth] == [7.0, 3.0]


@pytest.mark.parametrize(
    "name", ["leaky_relu", "prelu", "hardtanh", "hardsigmoid", "threshold", "softshrink"]
)
def test_guided_backprop_and_lrp_cover_activations_that_never_fall(name: str) -> None:
    network, images, labels = network_of(MODULES[name]), images_of(), torch.tensor([0, 1, 2, 0, 1])
    inner = network.first(images.flatten(1)).requires_grad_(True)
    (slope,) = torch.autograd.grad(network.activation(inner).sum(), inner)
    expected = (slope * network.last.weight[labels].clamp_min(0)) @ network.first.weight
    torch.testing.assert_close(guided_backprop(network, images, labels).flatten(1), expected)
    pytest.importorskip("zennit")
    flat = nn.Sequential(nn.Flatten(), network.first, network.activation, network.last)
    assert lrp(flat, images, labels).isfinite().all()


@pytest.mark.parametrize(
    ("activation", "name"),
    [
        (lambda x: torch.where(x > 0, x, x * 0), "where"),
        (lambda x: (x > 0) * x, "gt"),
        (lambda x: x.masked_fill(x < 0, 0.0), "lt"),
        (lambda x: x * x.detach().tanh(), "detach"),
        (lambda x: x - x.amax(1, keepdim=True), "amax"),
        (torch.abs, "abs"),
        (functional.hardswish, "hardswish"),
    ],
)
def test_guided_backprop_and_lrp_refuse_other_steps_by_name(activation: Any, name: str) -> None:
    network = prepare(network_of(lambda x: functional.relu(activation(x))))
    images, labels = images_of(), torch.zeros(5, dtype=torch.int64)
    for _ in range(2):
        with pytest.raises(ValueError, match=f"guided_backprop has no rule for {name} of"):
            guided_backprop(network, images, labels)
    pytest.importorskip("zennit")
    with pytest.raises(ValueError, match="lrp has no rule for"):
        lrp(network, images, labels)


class InPlace(nn.Module):
    """Overwrites its values by a ReLU and forgets what that returns, in code that torch.fx cannot trace."""

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU(inplace=True)

    def forward(self, values: Any) -> Any:
        if values.sum() < 99:
            self.relu(values)
        return values.sigmoid()


def test_guided_backprop_explains_a_network_that_works_in_place() -> None:
    network, images, labels = network_of(InPlace()), images_of(), torch.tensor([0, 1, 2, 0, 1])
    expected = guided_backprop(network_of(nn.Sequential(nn.ReLU(), nn.Sigmoid())), images, labels)
    torch.testing.assert_close(guided_backprop(network, images, labels), expected)
    assert network.activation.relu.inplace


def test_guided_backprop_needs_a_relu_that_sees_the_image() -> None:
    class Table(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.relu, self.table = nn.ReLU(), nn.Parameter(torch.ones(6))

        def forward(self, values: Any) -> Any:
            return values.sigmoid() + self.relu(self.table)

    with pytest.raises(ValueError, match="Between has no ReLU, so guided_backprop would equal its gradient"):
        guided_backprop(network_of(Table()), images_of(), torch.zeros(5, dtype=torch.int64))


@pytest.mark.parametrize(
    "form", [form for form in FORMS if not form.startswith(("maximum", "minimum", "hardswish-1"))]
)
def test_deep_lift_covers_each_form(form: str) -> None:
    network, images = prepare(network_of(FORMS[form])), images_of()
    black = torch.zeros_like(images)
    labels = torch.tensor([0, 1, 2, 0, 1])
    expected = (network(images) - network(black)).gather(1, labels[:, None])[:, 0]
    torch.testing.assert_close(deep_lift(network, images, labels).sum((1, 2, 3)), expected)


def test_copies_and_lrp_networks_are_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    network, images, labels = network_of(nn.ReLU()), images_of(), torch.zeros(5, dtype=torch.int64)
    first = beta_smooth(network, images, labels, beta=2.0)
    monkeypatch.setattr(activations, "replaced", None)
    assert torch.equal(beta_smooth(network, images, labels, beta=2.0), first)
    with pytest.raises(TypeError):
        beta_smooth(network, images, labels, beta=3.0)


def test_a_copy_of_an_attack_changes_no_shared_one() -> None:
    network, images = network_of(nn.ReLU()), images_of()
    expected = softened(network, 2.0)(images)
    set_beta(with_softplus(network, 2.0), 9.0)
    assert torch.equal(softened(network, 2.0)(images), expected)


def changes(network: Any) -> dict[str, Any]:
    weights = {name: value + 1 for name, value in network.state_dict().items()}
    return {
        "loads": lambda: network.load_state_dict(weights),
        "assigns": lambda: network.load_state_dict(weights, assign=True),
        "moves": lambda: network.to(torch.float32),
        "replaces": lambda: setattr(network, "3", nn.Tanh()),
        "steps": lambda: network[0].bias.mul_(2),
    }


@pytest.mark.parametrize("change", ["loads", "assigns", "moves", "replaces", "steps"])
def test_results_follow_a_network_that_changes(change: str) -> None:
    pytest.importorskip("zennit")
    torch.manual_seed(6)
    network: Any = nn.Sequential(
        *(
            nn.Conv2d(1, 3, 1),
            nn.BatchNorm2d(3),
            nn.Sequential(nn.ReLU()),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(12, 3),
        )
    )
    network = network.double().eval().requires_grad_(False)
    images, labels = images_of(), torch.tensor([0, 1, 2, 0, 1])
    methods = [beta_smooth] if change == "replaces" else [beta_smooth, lrp]
    before = [explain(network, images, labels) for explain in methods]
    changes(network)[change]()
    images = images.to(network[0].weight.dtype)
    for explain, old in zip(methods, before, strict=True):
        found = explain(network, images, labels)
        assert torch.equal(found, explain(copy.deepcopy(network), images, labels))
        assert not torch.equal(found, old.to(found.dtype)) or change == "moves"


def test_results_do_not_keep_their_network() -> None:
    network = prepare(network_of(functional.relu))
    images, labels = images_of(), torch.zeros(5, dtype=torch.int64)
    beta_smooth(network, images, labels)
    guided_backprop(network, images, labels)
    alive = weakref.ref(network)
    made: Derived[int] = Derived()
    assert [made(network, "a", lambda: 1), made(network, "a", lambda: 2), made(network, "b", lambda: 3)] == [
        1,
        1,
        3,
    ]
    del network
    gc.collect()
    assert alive() is None


def test_lrp_network_does_not_keep_its_model() -> None:
    pytest.importorskip("zennit")
    network: Any = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).double()
    lrp(network.requires_grad_(False), images_of(), torch.zeros(5, dtype=torch.int64))
    alive = weakref.ref(network)
    del network
    gc.collect()
    assert alive() is None
