"""Networks: their architectures, the modules that explanations need, checkpoints."""
