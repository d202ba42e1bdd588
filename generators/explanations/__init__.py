"""Explanations: ``EXPLANATIONS`` maps a name to the function that attributes a class logit to the input."""

from .averages import EXPLANATIONS as EXPLANATIONS
from .averages import Explanation as Explanation
from .averages import abs_sum as abs_sum
from .averages import beta_smooth as beta_smooth
from .averages import gradient as gradient
from .averages import guided_backprop as guided_backprop
from .averages import input_x_gradient as input_x_gradient
from .averages import integrated_gradients as integrated_gradients
from .averages import is_differentiable as is_differentiable
