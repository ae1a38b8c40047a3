"""Functions over pixels, compiled by numba. Importing this imports the compiler, which takes half a second."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar, cast

import numba
from numba.core.caching import FunctionCache

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile with numba, keeping the type that mypy sees; what is compiled is kept for the next process where there is
    a place for it."""
    dispatcher: Any = numba.njit(nogil=True)(function)
    with suppress(RuntimeError):  # neither the installation nor a home can be written to
        dispatcher._cache = _Cache(function)
    return cast(Function, dispatcher)


class _Cache(FunctionCache):
    """What numba keeps of a function on the disk; it is only a cache, whatever becomes of its files."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """What was compiled earlier; None if it cannot be read."""
        try:
            return super().load_overload(sig, target_context)
        except Exception:
            with suppress(OSError):
                self.flush()  # files damaged by a power cut are made anew
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep what was compiled, unless the disk is full."""
        with suppress(OSError):
            super().save_overload(sig, data)
