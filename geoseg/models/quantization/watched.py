"""Which values a network's convolutions make, and what becomes of them, watched while windows are forwarded.

In: a network that is called with floats. Out: for each convolution the range of its inputs and outputs, channel by
channel, and what follows it: a sum, an activation, other convolutions, or functions of floats.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from geoseg.models import tensor_functions as known

Stage = tuple[Literal["sum", "activation"], ...]
"""What has followed a convolution."""


class Range(NamedTuple):
    """Least and largest values of each channel, (C) each."""

    low: Tensor
    high: Tensor

    @classmethod
    def of(cls, values: Tensor) -> Range:
        """The range of maps (B, C, h, w)."""
        return cls(values.amin((0, 2, 3)).float(), values.amax((0, 2, 3)).float())

    def joined(self, other: Range | None) -> Range:
        """The range of both."""
        if other is None:
            return self
        return Range(torch.minimum(self.low, other.low), torch.maximum(self.high, other.high))


@dataclass(eq=False)
class Watch:
    """What is seen of one convolution."""

    name: str
    inputs: Range | None = None
    """Range of its inputs."""
    means: list[Tensor] = field(default_factory=list)
    """Mean of each channel of its inputs (C), window by window."""
    stages: dict[Stage, Range] = field(default_factory=dict)
    """Range of what its outputs have become."""
    ends: set[Stage] = field(default_factory=set)
    """Stages at which something else was done with them."""
    takes_integers: bool = False
    """Whether its inputs are outputs of others."""
    is_taken: bool = False
    """Whether they go into another convolution, or are added to its outputs, perhaps resized or beside others."""
    added: set[str] = field(default_factory=set)
    """Names of the convolutions whose outputs were added to its own."""

    @property
    def stage(self) -> Stage:
        """What follows before anything else is done with the outputs: what all of their ends begin with."""
        common = zip(*self.ends, strict=False)
        return tuple(steps[0] for steps in takewhile(lambda steps: len(set(steps)) == 1, common))

    def see_inputs(self, values: Tensor) -> None:
        """Take in the inputs."""
        self.inputs = Range.of(values).joined(self.inputs)
        self.means.append(values.float().mean((0, 2, 3)))

    def see(self, stage: Stage, values: Tensor) -> None:
        """Take in the outputs at a stage."""
        self.stages[stage] = Range.of(values).joined(self.stages.get(stage))

    def end(self, stage: Stage, *, is_taken: bool) -> None:
        """Note that something else is done with the outputs at a stage."""
        self.ends.add(stage)
        self.is_taken |= is_taken


class Watched(torch.Tensor):
    """Outputs of convolutions, perhaps of several beside each other, whose way through the network is watched."""

    watches: tuple[tuple[Watch, Stage], ...]
    is_sealed: bool

    @staticmethod
    def of(values: Tensor, watches: tuple[tuple[Watch, Stage], ...], *, is_sealed: bool) -> Watched:
        """Watch some values; `is_sealed` says that something was done with them that a convolution cannot do itself."""
        made: Watched = values.as_subclass(Watched)
        made.watches, made.is_sealed = watches, is_sealed
        return made

    def become(self, other: Tensor) -> None:
        """Be watched as another result, of a function that has changed the values in place."""
        self.watches, self.is_sealed = (other.watches, other.is_sealed) if isinstance(other, Watched) else ((), True)

    def plain(self, *, is_taken: bool = False) -> Tensor:
        """The values, for a function that ends the watch."""
        for watch, stage in self.watches:
            watch.end(stage, is_taken=is_taken)
        with torch._C.DisableTorchFunctionSubclass():
            return self.as_subclass(torch.Tensor)

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a function of PyTorch, and note what it does with the values."""
        keywords = kwargs or {}
        with torch._C.DisableTorchFunctionSubclass():
            if func in known.QUESTIONS:
                return func(*args, **keywords)
            watches = _followed(func, args, keywords)
            if watches is None:
                for one in _watched_in((args, keywords)):
                    one.plain()
            found = func(*_plain(args), **_plain(keywords))
            result = found if watches is None else watches.of(found)
        if known.is_in_place(func, args, keywords) and args and isinstance(args[0], Watched):
            args[0].become(result)
        return result


@dataclass(frozen=True)
class _Result:
    """How the result of a function is watched."""

    watches: tuple[tuple[Watch, Stage], ...]
    is_sealed: bool

    def of(self, values: Tensor) -> Watched:
        if not self.is_sealed:
            ((watch, stage),) = self.watches
            watch.see(stage, values)
        return Watched.of(values, self.watches, is_sealed=self.is_sealed)


def _followed(function: known.Function, arguments: Any, keywords: dict[str, Any]) -> _Result | None:
    """How to watch the result of a function; None if it is one of floats."""
    if function in known.SUMS:
        return _of_sum(known.addends(arguments, keywords))
    if function in known.CONCATENATIONS:
        return _of_joined(known.joined(arguments, keywords))
    values = arguments[0] if arguments else None
    if not isinstance(values, Watched):
        return None
    if function in known.ACTIVATIONS:
        return _of_activation(values)
    if function in known.COPIES:
        return _Result(values.watches, is_sealed=values.is_sealed)
    is_index = function is torch.Tensor.__getitem__ and known.is_spatial(arguments[1])
    if function in known.MAX_POOLINGS or is_index or known.is_inner_resize(function, arguments, keywords):
        values.plain()
        return _Result(values.watches, is_sealed=True)
    return None


def _of_sum(pair: tuple[Any, Any] | None) -> _Result | None:
    if pair is None or not all(isinstance(one, Watched) for one in pair) or pair[0].shape != pair[1].shape:
        return None
    waiting = next((one for one in pair if not one.is_sealed and one.watches[0][1] == ()), None)
    if waiting is None:
        return None
    other: Watched = pair[1] if waiting is pair[0] else pair[0]
    if len(other.watches) != 1 or waiting is other:
        return None
    watch = waiting.watches[0][0]
    other.plain(is_taken=True)
    watch.added.add(other.watches[0][0].name)
    return _Result(((watch, ("sum",)),), is_sealed=False)


def _of_joined(maps: Any) -> _Result | None:
    if maps is None or not all(isinstance(one, Watched) and one.watches for one in maps):
        return None
    for one in maps:
        one.plain()
    return _Result(tuple(pair for one in maps for pair in one.watches), is_sealed=True)


def _of_activation(values: Watched) -> _Result | None:
    if values.is_sealed:
        return None
    ((watch, stage),) = values.watches
    followed: Stage = stage if stage[-1:] == ("activation",) else (*stage, "activation")
    return _Result(((watch, followed),), is_sealed=False)


def _watched_in(given: Any) -> Iterator[Watched]:
    if isinstance(given, Watched):
        yield given
    elif isinstance(given, (list, tuple)):
        for one in given:
            yield from _watched_in(one)
    elif isinstance(given, dict):
        for one in given.values():
            yield from _watched_in(one)


def _plain(given: Any) -> Any:
    """Arguments with the values themselves in the place of watched ones."""
    if isinstance(given, Watched):
        return given.as_subclass(torch.Tensor)
    if isinstance(given, (list, tuple)) and not hasattr(given, "_fields"):
        return type(given)(_plain(one) for one in given)
    if isinstance(given, dict):
        return {name: _plain(one) for name, one in given.items()}
    return given


def end_watch(found: Any) -> Any:
    """What a network gives, as plain tensors, with its watch ended."""
    for one in _watched_in(found):
        one.plain()
    return _plain(found)
