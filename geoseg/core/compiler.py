"""Functions over pixels, compiled by numba. Importing this imports the compiler, which takes a fifth of a second.

Compiling needs far more of numba than running what was compiled before does, which is all that most processes do: that
is loaded without the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from typing import Any, TypeVar, cast

import numba
from numba.core.caching import FunctionCache
from numba.core.runtime.nrt import rtsys

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile with numba, keeping the type that mypy sees; what is compiled is kept for the next process where there is
    a place for it."""
    dispatcher: Any = numba.njit(nogil=True)(function)
    dispatcher._cache = _Kept(function)
    return cast(Function, dispatcher)


class _Kept:
    """What numba keeps of a function on the disk, as its dispatchers ask for it.

    The place is looked for when the function is first called from Python: most are only called from others.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    @cached_property
    def _cache(self) -> _Cache | None:
        with suppress(RuntimeError):  # neither the installation nor a home can be written to
            return _Cache(self._function)
        return None

    @property
    def cache_path(self) -> str | None:
        """Folder of the files; None if there is no place for them."""
        return None if self._cache is None else str(self._cache.cache_path)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """What was compiled earlier; None if there is nothing, or it cannot be read."""
        return None if self._cache is None else self._cache.load_overload(sig, target_context)

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep what was compiled, if there is a place for it."""
        if self._cache is not None:
            self._cache.save_overload(sig, data)

    def flush(self) -> None:
        """Forget what is kept."""
        if self._cache is not None:
            self._cache.flush()


class _Cache(FunctionCache):
    """The files; they are only a cache, whatever becomes of them."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """What was compiled earlier; None if it cannot be read.

        Without `target_context.refresh()`, which imports and registers all that numba can compile, SciPy's linear
        algebra among it: compiling does that itself, and code needs only the runtime.
        """
        try:
            rtsys.initialize(target_context)
            return self._load_overload(sig, target_context)
        except Exception:
            with suppress(OSError):
                self.flush()  # files damaged by a power cut are made anew
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep what was compiled, unless the disk is full."""
        with suppress(OSError):
            super().save_overload(sig, data)
