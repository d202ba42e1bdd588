"""Training regimes: each loss against loops over samples and points, its gradient, the inner loop."""

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from generators import paths, published, regimes
from generators.published import PGD, Settings
from generators.regimes import PARAMETERS, REGIMES, ig_images, pgd_images

SETTINGS = Settings(eps=0.1, steps=3, step_size=0.04, n_points=4, inner_n_points=2, weight=0.7)
WITH_ATTRIBUTION = ("ig_norm", "ig_sum_norm", "art")


@pytest.fixture(scope="module")
def network() -> Any:
    """A smooth network, so that finite differences of its first derivatives are meaningful."""
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(2, 4, 2),
        nn.Softplus(3),
        nn.Flatten(),
        nn.Linear(16, 5),
        nn.Softplus(3),
        nn.Linear(5, 3),
    ]
    return nn.Sequential(*layers).double()


@pytest.fixture(scope="module")
def images() -> Any:
    random = torch.Generator().manual_seed(1)
    return torch.rand((3, 2, 3, 3), generator=random, dtype=torch.float64)


@pytest.fixture(scope="module")
def attacked(images: Any) -> Any:
    random = torch.Generator().manual_seed(2)
    shift = 0.1 * torch.randn(images.shape, generator=random, dtype=torch.float64)
    return (images + shift).clamp(0, 1)


LABELS = torch.tensor([2, 0, 1])


def seeded() -> Any:
    return torch.Generator().manual_seed(5)


def slow_ig(output: Callable[[Any], Any], start: Any, end: Any, n_points: int) -> Any:
    """Integrated gradients of `output` (one image in, one number out)."""
    total = torch.zeros_like(start)
    for k in range(1, n_points + 1):
        point = (start + k / n_points * (end - start)).detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(output(point), point)
        total = total + gradient
    return (end - start) * total / n_points


def loss_of(network: Any, label: int) -> Callable[[Any], Any]:
    return lambda image: -network(image[None])[0].log_softmax(0)[label]


def probability_of(network: Any, label: int) -> Callable[[Any], Any]:
    return lambda image: network(image[None])[0].softmax(0)[label]


def best_wrong_of(network: Any, label: int) -> Callable[[Any], Any]:
    def output(image: Any) -> Any:
        probabilities = network(image[None])[0].softmax(0)
        return max(p for c, p in enumerate(probabilities) if c != label)

    return output


def slow_norm(network: Any, x: Any, x2: Any, label: int, n_points: int) -> float:
    return float(slow_ig(loss_of(network, label), x, x2, n_points).abs().sum())


def slow_divergence(attributions: Any) -> float:
    """KL(u, softmax(attributions summed over channels)), pixel by pixel."""
    pixels = attributions.sum(0).flatten().tolist()
    total = sum(math.exp(value) for value in pixels)
    return sum(1 / len(pixels) * math.log(1 / len(pixels) / (math.exp(v) / total)) for v in pixels)


def slow_art_terms(network: Any, x: Any, x2: Any, label: int, n_points: int) -> tuple[float, float]:
    black = torch.zeros_like(x)
    true = slow_ig(probability_of(network, label), black, x2, n_points)
    wrong = slow_ig(best_wrong_of(network, label), black, x2, n_points)
    base = slow_ig(probability_of(network, label), black, x, n_points)
    delta = -slow_ig(loss_of(network, label), x, x2, n_points)
    change = 0.0
    for b, d in zip(base.flatten().tolist(), delta.flatten().tolist(), strict=True):
        change += b * d if (b > 0) == (d > 0) else abs(d)
    return slow_divergence(wrong) - slow_divergence(true), change


def slow_loss(name: str, network: Any, images: Any, attacked: Any, settings: Settings) -> float:
    """The loss of a batch with given attacked images."""
    total = 0.0
    for x, x2, y in zip(images, attacked, LABELS.tolist(), strict=True):
        clean, perturbed = (loss_of(network, y)(image).item() for image in (x, x2))
        norm = slow_norm(network, x, x2, y, settings.n_points)
        terms = {
            "natural": clean / len(images),
            "pgd": perturbed / len(images),
            "ig_norm": clean + settings.weight * norm,
            "ig_sum_norm": perturbed + settings.weight * norm,
        }
        if name == "art":
            contrast, change = slow_art_terms(network, x, x2, y, settings.n_points)
            total += perturbed + settings.weight * (contrast + change)
        else:
            total += terms[name]
    return total


@pytest.fixture
def given_attack(monkeypatch: pytest.MonkeyPatch, attacked: Any) -> None:
    """Fix the attacked images, so that the inner loop is not part of the loss."""
    monkeypatch.setattr(regimes, "ig_images", lambda *args, **more: attacked)
    monkeypatch.setattr(regimes, "pgd_images", lambda *args: attacked)


@pytest.mark.usefixtures("given_attack")
@pytest.mark.parametrize("chunk_size", [1, 8, 1000])  # one sample, two samples, all of them at once
@pytest.mark.parametrize("name", REGIMES)
def test_loss_equals_that_of_plain_loops(
    network: Any, images: Any, attacked: Any, name: str, chunk_size: int
) -> None:
    settings = dataclasses.replace(SETTINGS, chunk_size=chunk_size)
    parts = list(REGIMES[name](network, images, LABELS, settings, seeded()))
    expected = slow_loss(name, network, images, attacked, settings)
    assert sum(part.item() for part in parts) == pytest.approx(expected, rel=1e-10)
    n_groups = {1: 3, 8: 2, 1000: 1}[chunk_size]
    n_parts = {"natural": 1, "pgd": 1, "art": 1 + 2 * n_groups}.get(name, 1 + n_groups)
    assert len(parts) == n_parts


@pytest.mark.usefixtures("given_attack")
@pytest.mark.parametrize("name", REGIMES)
def test_parameter_gradient_is_that_of_finite_differences(
    network: Any, images: Any, attacked: Any, name: str
) -> None:
    network.zero_grad()
    for part in REGIMES[name](network, images, LABELS, dataclasses.replace(SETTINGS, chunk_size=8), seeded()):
        torch.autograd.backward(part)
    gradients = {
        key: parameter.grad.clone()
        for key, parameter in network.named_parameters()
        if parameter.grad is not None
    }
    assert set(gradients) == {key for key, _ in network.named_parameters()}
    random = torch.Generator().manual_seed(7)
    for key, parameter in network.named_parameters():
        direction = torch.randn(parameter.shape, generator=random, dtype=torch.float64)
        before, h, values = parameter.detach().clone(), 1e-5, []
        for step in (h, -h):
            with torch.no_grad():
                parameter.copy_(before + step * direction)
            values.append(slow_loss(name, network, images, attacked, SETTINGS))
        with torch.no_grad():
            parameter.copy_(before)
        expected = (values[0] - values[1]) / (2 * h)
        found = float((gradients[key] * direction).sum())
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-8), key


def test_relu_networks_have_a_gradient_too(images: Any, attacked: Any) -> None:
    """The softmax has second derivatives where the ReLU has none."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(2, 4, 2), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)]
    network = nn.Sequential(*layers).double()
    norm = paths.change_norm(network, images, attacked, LABELS, 4)
    torch.autograd.backward(norm.sum())
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in network[0].parameters())


def linear(weights: Any) -> Any:
    layer = nn.Linear(weights.shape[1], weights.shape[0], bias=False).double()
    with torch.no_grad():
        layer.weight.copy_(weights)
    return nn.Sequential(nn.Flatten(), layer)


def test_attribution_of_the_change_adds_up_to_the_change_of_the_loss(
    network: Any, images: Any, attacked: Any
) -> None:
    (found,) = paths.path_attributions(network, images, attacked, LABELS, 2000, paths.sample_loss)
    change = cross_entropy(network(attacked), LABELS, reduction="none") - cross_entropy(
        network(images), LABELS, reduction="none"
    )
    torch.testing.assert_close(found.sum((1, 2, 3)), change, rtol=1e-3, atol=1e-5)
    norms = paths.change_norm(network, images, attacked, LABELS, 2000)
    assert (norms > change.abs()).all()


def test_one_jittered_point_has_the_mean_of_many(network: Any, images: Any, attacked: Any) -> None:
    """Its fixed place, the end of the path, has not."""
    sample, end, label = images[:1], attacked[:1], LABELS[:1]
    (many,) = paths.path_attributions(network, sample, end, label, 2000, paths.sample_loss)
    jitter, n = torch.rand((2000, 1), generator=seeded(), dtype=torch.float64), 2000
    repeated = (sample.expand(n, -1, -1, -1), end.expand(n, -1, -1, -1), label.expand(n))
    (drawn,) = paths.path_attributions(network, *repeated, 1, paths.sample_loss, jitter=jitter)
    (fixed,) = paths.path_attributions(network, sample, end, label, 1, paths.sample_loss)
    error = (drawn.mean(0) - many[0]).norm()
    assert error < 0.1 * (fixed[0] - many[0]).norm()


def test_jitter_stays_within_the_part_of_each_point(network: Any, images: Any, attacked: Any) -> None:
    """A jitter of 1 is the point before, and of 0 the point itself."""
    n, zeros = 4, torch.zeros((3, 4), dtype=torch.float64)
    seen: list[Any] = []

    def watched(flat: Any) -> Any:
        seen.append(flat.detach().view(3, n, *images.shape[1:]))
        return network(flat)

    for jitter in (None, zeros, zeros + 1, zeros + 0.5):
        paths.path_attributions(watched, images, attacked, LABELS, n, paths.sample_loss, jitter=jitter)  # type: ignore[arg-type]
    plain, at_0, at_1, half = seen
    assert (plain == at_0).all()
    torch.testing.assert_close(at_1[:, 1:], plain[:, :-1])
    torch.testing.assert_close(at_1[:, 0], images)
    torch.testing.assert_close(half, (at_0 + at_1) / 2)


@pytest.mark.parametrize("name", WITH_ATTRIBUTION)
def test_jitter_is_the_same_in_chunks_and_drawn_anew(network: Any, images: Any, name: str) -> None:
    settings = dataclasses.replace(SETTINGS, jitter=True)
    random = seeded()

    def loss(chunk_size: int, random: Any) -> float:
        chunked = dataclasses.replace(settings, chunk_size=chunk_size)
        return sum(part.item() for part in REGIMES[name](network, images, LABELS, chunked, random))

    first = loss(1000, random)
    assert loss(1, seeded()) == pytest.approx(first, rel=1e-10)
    assert loss(1000, random) != first


def test_no_perturbation_leaves_the_cross_entropy_alone(network: Any, images: Any) -> None:
    settings = dataclasses.replace(SETTINGS, eps=0.0)
    parts = REGIMES["ig_sum_norm"](network, images, LABELS, settings, seeded())
    loss = cross_entropy(network(images), LABELS, reduction="sum").item()
    assert sum(part.item() for part in parts) == loss


def test_contrast_is_low_if_one_pixel_explains_the_true_class() -> None:
    """The softmax of one high pixel is further from uniform than that of one low pixel."""
    weights = torch.zeros((2, 9), dtype=torch.float64)
    weights[0, 4] = 30
    network = linear(weights)
    image = torch.full((1, 1, 3, 3), 0.1, dtype=torch.float64)
    one = paths.class_contrast(network, image, torch.tensor([0]), 50)
    other = paths.class_contrast(network, image, torch.tensor([1]), 50)
    assert one.item() < 0 < other.item()
    torch.testing.assert_close(one, -other)  # of two classes, one's softmax output is one less the other's


def test_weighted_change_is_the_plain_change_where_attribution_is_removed(images: Any) -> None:
    """With positive BaseAttr, a removal has weight 1 and an addition the attribution before."""
    network = linear(torch.stack([torch.ones(18), torch.zeros(18)]))
    labels = torch.zeros(3, dtype=torch.int64)
    darker, brighter = images * 0.9, images / 0.9  # the label's logit falls, or rises
    away = paths.weighted_change(network, images, darker, labels, 20)
    torch.testing.assert_close(away, paths.change_norm(network, images, darker, labels, 20))
    assert (away > 0).all()
    added = paths.weighted_change(network, images, brighter, labels, 20)
    assert (added > 0).all()
    assert (added < paths.change_norm(network, images, brighter, labels, 20)).all()


def objective_of(name: str, network: Any, settings: Settings) -> Callable[[Any, Any, int], float]:
    """The objective of the inner loop of a regime, for one sample."""

    def objective(x: Any, current: Any, label: int) -> float:
        norm = slow_norm(network, x, current, label, settings.inner_n_points)
        loss = float(loss_of(network, label)(current).detach())
        return {"pgd": loss, "ig_norm": norm}.get(name, loss + settings.weight * norm)

    return objective


def found_images(name: str, network: Any, images: Any, settings: Settings) -> Any:
    """The attacked images that a regime trains on."""
    seen: list[Any] = []

    def keep(attack: Callable[..., Any]) -> Callable[..., Any]:
        def kept(*args: Any, **more: Any) -> Any:
            seen.append(attack(*args, **more))
            return seen[-1]

        return kept

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(regimes, "ig_images", keep(ig_images))
        patch.setattr(regimes, "pgd_images", keep(pgd_images))
        list(REGIMES[name](network, images, LABELS, settings, seeded()))
    (found,) = seen
    return found


INNER = ("pgd", *WITH_ATTRIBUTION)


@pytest.mark.parametrize("name", INNER)
def test_each_step_follows_the_sign_of_the_gradient_of_the_plain_loops(
    network: Any, images: Any, name: str
) -> None:
    settings = dataclasses.replace(SETTINGS, steps=2, chunk_size=3)
    start = found_images(name, network, images, dataclasses.replace(settings, steps=0))
    objective, h = objective_of(name, network, settings), 1e-6
    current = start.clone()
    for _ in range(settings.steps):
        moved = current.clone()
        for i, label in enumerate(LABELS.tolist()):
            for index in range(images[0].numel()):
                shift = torch.zeros(images[0].numel(), dtype=torch.float64)
                shift[index] = h
                shift = shift.reshape(images[0].shape)
                rise = objective(images[i], current[i] + shift, label) - objective(
                    images[i], current[i] - shift, label
                )
                assert abs(rise) > 1e-6 * h, "a slope that finite differences cannot tell from zero"
                moved[i] += settings.step_size * torch.sign(shift) * math.copysign(1, rise)
        lower, upper = (images - settings.eps).clamp_min(0), (images + settings.eps).clamp_max(1)
        current = torch.minimum(torch.maximum(moved, lower), upper)
    torch.testing.assert_close(found_images(name, network, images, settings), current, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", INNER)
def test_inner_loop_raises_its_objective_and_stays_in_the_ball(network: Any, images: Any, name: str) -> None:
    start = found_images(name, network, images, dataclasses.replace(SETTINGS, steps=0))
    found = found_images(name, network, images, dataclasses.replace(SETTINGS, steps=10))
    objective = objective_of(name, network, SETTINGS)
    for x, begun, ended, label in zip(images, start, found, LABELS.tolist(), strict=True):
        assert objective(x, ended, label) > objective(x, begun, label)
    for moved in (start, found):
        assert (moved - images).abs().max() <= SETTINGS.eps + 1e-12
        assert moved.min() >= 0
        assert moved.max() <= 1
    assert (start - images).abs().max() > 0.9 * SETTINGS.eps
    assert not found.requires_grad


def test_start_is_uniform_in_the_ball_and_clamped(network: Any) -> None:
    gray = torch.full((3, 2, 3, 3), 0.5).double().repeat(1, 1, 40, 40)
    start = regimes.random_start(gray, PGD(0.1, 0, 0.1), seeded()) - gray
    assert start.mean().abs() < 0.002
    assert start.std() == pytest.approx(0.1 / math.sqrt(3), rel=0.02)
    black = regimes.random_start(torch.zeros_like(gray), PGD(0.1, 0, 0.1), seeded())
    assert black.min() == 0
    assert (black == 0).double().mean() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("chunk_size", [2, 4])
def test_attacked_images_do_not_depend_on_chunks(network: Any, images: Any, chunk_size: int) -> None:
    whole = found_images("ig_sum_norm", network, images, SETTINGS)
    parts = found_images("ig_sum_norm", network, images, dataclasses.replace(SETTINGS, chunk_size=chunk_size))
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-12)


class Watched(nn.Module):
    """Remembers the mode in which it was used."""

    def __init__(self) -> None:
        super().__init__()
        self.modes: list[bool] = []

    def forward(self, values: Any) -> Any:
        self.modes.append(self.training)
        return values


@pytest.mark.parametrize("name", REGIMES)
def test_only_the_trained_cross_entropy_runs_in_training_mode(images: Any, name: str) -> None:
    torch.manual_seed(0)
    norm, watched = nn.BatchNorm2d(4), Watched()
    layers = [nn.Conv2d(2, 4, 2), norm, nn.ReLU(), nn.Flatten(), nn.Dropout(0.5), nn.Linear(16, 3), watched]
    network = nn.Sequential(*layers).double().train()

    def parts() -> Iterator[float]:
        for part in REGIMES[name](network, images, LABELS, SETTINGS, seeded()):
            assert network.training
            assert norm.training
            yield part.item()

    found = list(parts())
    assert watched.modes.count(True) == 1
    assert norm.num_batches_tracked is not None
    assert norm.num_batches_tracked.item() == 1
    assert all(math.isfinite(part) for part in found)
    if name in WITH_ATTRIBUTION:
        assert len(watched.modes) > SETTINGS.steps + 1
    assert any(p.requires_grad for p in network.parameters())


def test_published_settings() -> None:
    """RAR's tables; weights of ig_norm, ig_sum_norm, art."""
    expected = {
        "mnist": (0.3, 40, 0.01, 10, 1.0, 0.1, 0.1),
        "fashion_mnist": (0.1, 20, 0.01, 10, 1.0, 0.1, 0.1),
        "gtsrb": (8 / 255, 7, 2 / 255, 5, 1.0, 1.0, 0.1),
        "flower17": (8 / 255, 7, 2 / 255, 5, 0.1, 0.1, 0.1),
    }
    for dataset, (eps, steps, step_size, inner, *weights) in expected.items():
        for name, weight in zip(WITH_ATTRIBUTION, weights, strict=True):
            assert published.regime(dataset, name) == Settings(eps, steps, step_size, 50, inner, weight)
    assert published.regime("cifar10", "pgd").eps == 8 / 255


def test_every_regime_names_its_settings() -> None:
    assert PARAMETERS.keys() == REGIMES.keys()
    fields = {field.name for field in dataclasses.fields(Settings)} - {"chunk_size"}
    assert all(set(names) <= fields for names in PARAMETERS.values())
    assert set(PARAMETERS["art"]) == fields
