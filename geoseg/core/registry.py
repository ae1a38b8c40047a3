"""Registries: objects of one kind by name, loaded on demand, also from other packages.

In: names, and where each object is defined, as "module:attribute". Out: the object. An installed package adds its own
by entry points: in the group `geoseg.losses`, an entry `soft = "their_package.losses:Soft"` is the loss `soft`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from geoseg.core.errors import GeosegError, SpecError

T = TypeVar("T")


class Registry(Generic[T]):
    """Objects of one kind by name; listing the names loads none of them."""

    def __init__(self, kind: str, group: str | None, own: Mapping[str, str], error: type[GeosegError] = SpecError):
        """Define a registry.

        Args:
            kind: kind of the objects, for error messages, e.g. "loss".
            group: group of entry points by which other packages add to it, e.g. "geoseg.losses"; None if they cannot.
            own: where geoseg's own objects are defined, "module:attribute" by name.
            error: class of the error for an unknown name.
        """
        self.kind, self.group = kind, group
        self._own, self._error = dict(own), error
        self._loaded: dict[str, T] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self._own or name in self._others

    @property
    def names(self) -> tuple[str, ...]:
        """All names: geoseg's own in their order, then those of other packages."""
        return tuple(dict.fromkeys([*self._own, *sorted(self._others)]))

    @property
    def own(self) -> tuple[str, ...]:
        """Names of geoseg's own, in their order."""
        return tuple(self._own)

    def get(self, name: str) -> T:
        """Load the object of a name; geoseg's own takes precedence over another package's.

        Raises:
            GeosegError: of the registry's class, if the name is unknown, with the nearest name; or if the import fails.
        """
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def check(self, name: str) -> str:
        """Return the name if it is known, without loading anything.

        Raises:
            GeosegError: of the registry's class, if the name is unknown, with the nearest name.
        """
        if name not in self:
            raise self._error(self.unknown(name))
        return name

    def nearest(self, name: str) -> str | None:
        """The name that is most like a misspelt one; None if none is like it."""
        return next(iter(get_close_matches(name, self.names, n=1, cutoff=0.6)), None)

    def unknown(self, name: str) -> str:
        """The message for an unknown name: the nearest one, or all."""
        near = self.nearest(str(name))
        hint = f"did you mean {near!r}?" if near is not None else f"there are {', '.join(self.names)}"
        return f"no {self.kind} is called {name!r}: {hint}"

    def _load(self, name: str) -> T:
        if self.check(name) in self._own:
            module, _, attribute = self._own[name].partition(":")
            thing: T = getattr(import_module(module), attribute)
            return thing
        try:
            loaded: T = self._others[name].load()
        except Exception as error:  # importing another package's module may raise anything
            place = self._others[name].value
            raise self._error(f"{self.kind} {name!r}: {place} cannot be loaded: {error}: mend that package") from error
        return loaded

    @cached_property
    def _others(self) -> dict[str, EntryPoint]:
        return {} if self.group is None else {point.name: point for point in entry_points(group=self.group)}
