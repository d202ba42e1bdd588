"""Compile kernels and cache the code on disk; a damaged cache or a full disk only costs time."""

import warnings

import numba
from numba.core.caching import FunctionCache


def _import_arraymath():
    """Import what numba imports before it loads any compiled code, without SciPy's linear algebra.

    Numba imports that only to note that it is there, which takes longer than to load all kernels. Compiled
    code that uses it imports it then.
    """
    try:
        from numba.np import linalg

        names = vars(linalg)
        check = names["ensure_blas"]
    except (ImportError, KeyError):  # another version of numba
        return
    names["ensure_blas"] = lambda: None
    try:
        from numba.np import arraymath
    except ImportError:
        return
    finally:
        names["ensure_blas"] = check
    vars(arraymath)["ensure_blas"] = check


_import_arraymath()


def njit(*, cache, **options):
    """Return a decorator like numba's, with a cache that warns where numba's raises."""

    def compiled(function):
        dispatcher = numba.njit(**options)(function)
        if cache and dispatcher is not function:  # without compilation they are the same
            try:
                dispatcher._cache = _Cache(function)
            except RuntimeError:  # numba found no writable place
                _warn(
                    "compiled code can be kept neither beside the package nor in the home folder, so every "
                    "process spends some seconds compiling; set the environment variable NUMBA_CACHE_DIR to "
                    "a writable folder"
                )
        return dispatcher

    return compiled


class _Cache(FunctionCache):
    """Numba's cache of one function, without the errors that would reach every caller of the function."""

    def load_overload(self, sig, target_context):
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:  # a damaged pickle or object file can raise any type
            _warn(f"the compiled code in {self.cache_path} is damaged ({error!r}), so it is compiled again")
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
                f"compiled code cannot be kept in {self.cache_path} ({error}), so every process spends some "
                "seconds compiling; free some space, or set the environment variable NUMBA_CACHE_DIR to "
                "another folder"
            )


_warned: list[str] = []


def _warn(message):
    """Warn once per process: further warnings would be the same for other functions."""
    if not _warned:
        _warned.append(message)
        warnings.warn(message, RuntimeWarning, stacklevel=3)
