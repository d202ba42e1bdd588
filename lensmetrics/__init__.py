"""Scores over stored attribution maps: how much of an explanation survives a small perturbation.

The names below are loaded when they are first used, so that importing the package costs
milliseconds; ``__init__.pyi`` lists them for type checkers and editors.
"""

import lazy_loader

__version__ = "0.2.0"

__getattr__, _public, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __dir__() -> list[str]:
    return [*_public(), "__version__"]
