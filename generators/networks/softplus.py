"""Softplus whose derivatives share one sigmoid."""

from typing import Any

import torch
from torch.nn import functional


def softplus(values: torch.Tensor, beta: float) -> torch.Tensor:
    """Return ln(1 + exp(beta x)) / beta, and x where beta x is above 20, as torch does.

    An attack step takes its first derivative three times and its second once. torch computes an exponential
    for each of them, here all four come from one sigmoid, which is a tenth of a step.
    """
    if not values.requires_grad:
        return functional.softplus(values, beta)
    apply: Any = _Softplus.apply
    result: torch.Tensor = apply(values, beta)
    return result


class _Softplus(torch.autograd.Function):
    is_smooth = True

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, beta: float) -> torch.Tensor:
        ctx.save_for_backward(values, torch.sigmoid(beta * values))
        ctx.beta = beta
        return functional.softplus(values, beta)

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor, None]:
        values, slope = ctx.saved_tensors
        times: Any = _TimesSlope.apply
        return times(upstream, values, slope, ctx.beta), None


class _TimesSlope(torch.autograd.Function):
    """The pass back through softplus, `upstream` times its slope sigmoid(beta x)."""

    is_smooth = True

    @staticmethod
    def forward(
        ctx: Any, upstream: torch.Tensor, values: torch.Tensor, slope: torch.Tensor, beta: float
    ) -> torch.Tensor:
        ctx.save_for_backward(upstream, values, slope)
        ctx.beta = beta
        return upstream * slope

    @staticmethod
    def backward(ctx: Any, of_result: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None, None]:
        upstream, values, slope = ctx.saved_tensors
        if torch.is_grad_enabled():  # a third derivative
            slope = torch.sigmoid(ctx.beta * values)
        through = of_result * slope
        bend = through * upstream
        return through, ctx.beta * torch.addcmul(bend, bend, slope, value=-1), None, None
