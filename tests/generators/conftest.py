"""Setup of the generators' tests: torch, and torchvision if it can be imported."""

import importlib.util

import pytest

pytest.importorskip("torch")

if importlib.util.find_spec("torchvision"):
    from tests.generators.torchvision_ops import declare_missing

    declare_missing()
