"""The softplus of attacks: torch's values and derivatives."""

import pytest
import torch
from torch.nn import functional

from generators.networks.softplus import softplus


@pytest.mark.parametrize("beta", [0.8, 1.0, 30.0])
def test_values_and_derivatives_are_those_of_torch(beta: float) -> None:
    values = torch.linspace(-800, 800, 401, dtype=torch.float64) / beta
    values = torch.cat([values, torch.linspace(-3, 3, 61, dtype=torch.float64)])
    ours, theirs = values.clone().requires_grad_(True), values.clone().requires_grad_(True)
    one, other = softplus(ours, beta), functional.softplus(theirs, beta)
    assert torch.equal(one, other)
    assert torch.equal(softplus(values, beta), other)
    for _ in range(3):
        (one,) = torch.autograd.grad(one.sum(), ours, create_graph=True)
        (other,) = torch.autograd.grad(other.sum(), theirs, create_graph=True)
        # torch's function is linear where beta x is above 20.
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-8 * beta**2)


def test_second_derivative_is_that_of_the_sigmoid() -> None:
    values = torch.linspace(-15, 15, 31, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda at: softplus(at, 1.5), values)
    assert torch.autograd.gradgradcheck(lambda at: softplus(at, 1.5), values)
