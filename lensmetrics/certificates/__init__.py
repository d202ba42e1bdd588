"""Certified robustness of smoothed explanations: bounds on the change under any small perturbation."""
