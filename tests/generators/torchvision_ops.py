"""Lets torchvision's CUDA build be imported with a CPU build of torch, for tests."""

import importlib
import sys
from typing import Any

import torch

# The operators that torchvision refers to when it is imported; classifiers call none of them.
_OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "roi_align(Tensor a) -> Tensor",
    "_roi_align_backward(Tensor a) -> Tensor",
    "qroi_align(Tensor a) -> Tensor",
    "ps_roi_align(Tensor a) -> (Tensor, Tensor)",
    "_ps_roi_align_backward(Tensor a) -> Tensor",
    "roi_pool(Tensor a) -> (Tensor, Tensor)",
    "_roi_pool_backward(Tensor a) -> Tensor",
    "ps_roi_pool(Tensor a) -> (Tensor, Tensor)",
    "_ps_roi_pool_backward(Tensor a) -> Tensor",
    "deform_conv2d(Tensor a) -> Tensor",
    "_deform_conv2d_backward(Tensor a) -> Tensor",
)
# Operators exist as long as the library that declared them.
_declared: list[torch.library.Library] = []


def declare_missing() -> None:
    """Import torchvision; if its compiled operators are missing, declare them and try again."""
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if _declared or "operator torchvision::" not in str(error):
            raise
    else:
        return
    make: Any = torch.library.Library  # has no types
    library = make("torchvision", "DEF")
    _declared.append(library)
    for schema in _OPERATORS:
        library.define(schema)
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]  # a failed import leaves its submodules
    importlib.import_module("torchvision")
