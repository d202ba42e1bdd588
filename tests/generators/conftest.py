"""What the tests of the generators need: torch, and torchvision where it can be imported."""

import importlib.util

import pytest

pytest.importorskip("torch")

if importlib.util.find_spec("torchvision"):
    from torchvision_ops import declare_missing

    declare_missing()
