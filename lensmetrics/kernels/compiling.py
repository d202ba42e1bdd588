"""Compiling kernels and keeping the code on disk, where damage or a full disk costs time and nothing else."""

import warnings

import numba
from numba.core.caching import FunctionCache


def njit(*, cache, **options):
    """Return a decorator like numba's, whose cache stops nobody."""

    def compiled(function):
        dispatcher = numba.njit(**options)(function)
        if cache and dispatcher is not function:  # which it is where compilation is switched off
            try:
                dispatcher._cache = _Cache(function)
            except RuntimeError:  # numba has found no place for it
                _warn(
                    "compiled code can be kept neither beside the package nor in the home folder, so every "
                    "process compiles for some seconds; set the environment variable NUMBA_CACHE_DIR to a "
                    "folder that you can write"
                )
        return dispatcher

    return compiled


class _Cache(FunctionCache):
    """Numba's cache of one function; its errors would come out of whatever calls the function."""

    def load_overload(self, sig, target_context):
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:  # damaged pickles and machine code raise anything
            _warn(f"the compiled code in {self.cache_path} is damaged ({error!r}), so it is compiled anew")
        try:
            self.flush()
        except OSError:
            self.disable()
        return None

    def save_overload(self, sig, data):
        try:
            super().save_overload(sig, data)
        except Exception as error:
            _warn(
                f"compiled code cannot be kept in {self.cache_path} ({error}), so every process compiles for "
                "some seconds; make room, or set the environment variable NUMBA_CACHE_DIR to another folder"
            )


_said: list[str] = []


def _warn(message):
    """Say the first that goes wrong; the rest would be the same of other functions."""
    if not _said:
        _said.append(message)
        warnings.warn(message, RuntimeWarning, stacklevel=3)
