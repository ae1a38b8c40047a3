"""Files that nobody meant: seeds with edits, and a loop that holds a reader to what it promises of any of them.

A target is given a folder with the file, and must end, within bounds of time and memory, in a result or in a
GeosegError of one short line; it may leave nothing behind.
"""

from __future__ import annotations

import json
import math
import os
import resource
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

from geoseg.core.errors import GeosegError

CORPUS = Path(__file__).parent / "corpus"
SHORT_FILES = 150
"""Files that a target is given in every run of the tests, always the same ones."""
LONG_S = float(os.environ.get("GEOSEG_FUZZ_SECONDS", "3600"))
"""How long a target is tried with -m slow."""
MOST_S, MOST_BYTES, MOST_LETTERS = 30, 2**30, 4000
"""Seconds and memory that one file may take, and the longest message about it."""
PER_ROUND = 250
"""Files between two looks at the clock."""

Target = Callable[[Path], object]
"""Reads the file of that path."""


@dataclass
class Tally:
    """What came of the files."""

    accepted: int = 0
    refused: int = 0
    broken: list[bytes] = field(default_factory=list)
    """Files on which the target broke its promise."""


def seeds(*names: str) -> list[bytes]:
    """Files of the corpus."""
    return [(CORPUS / name).read_bytes() for name in names]


def words(name: str) -> tuple[bytes, ...]:
    """A file of the corpus with a piece of text on each line, as Python writes it."""
    lines = (CORPUS / name).read_text("utf-8").splitlines()
    return tuple(line.encode().decode("unicode_escape").encode("latin-1") for line in lines)


def fuzz(target: Target, files: st.SearchStrategy[bytes], suffix: str, seconds: float | None) -> Tally:
    """Give a target file after file, a few or for some seconds; fail with the first on which it breaks its promise."""
    tally = Tally()
    if seconds is None:
        seeded(0)(_round(target, files, suffix, tally, math.inf, SHORT_FILES))()
    else:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            seeded(time.time_ns())(_round(target, files, suffix, tally, end, PER_ROUND))()
    print(f"{tally.accepted + tally.refused:,} files: {tally.accepted:,} accepted, {tally.refused:,} refused")
    assert tally.accepted, "every file was refused: the reader was hardly tried"
    assert tally.refused, "no file was refused: the edits are too tame"
    return tally


def _round(
    target: Target, files: st.SearchStrategy[bytes], suffix: str, tally: Tally, end: float, count: int
) -> Callable[[], None]:
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=(Phase.generate,),  # a file that takes too long would take as long again for each shrinking of it
        suppress_health_check=list(HealthCheck),
    )
    @given(files)
    def one(content: bytes) -> None:
        if time.monotonic() < end or content in tally.broken:
            try:
                _try(target, content, suffix, tally)
            except Exception:
                tally.broken.append(content)
                raise

    return one


def _try(target: Target, content: bytes, suffix: str, tally: Tally) -> None:
    with tempfile.TemporaryDirectory(prefix="fuzz") as name:
        path = Path(name, f"it{suffix}")
        path.write_bytes(content)
        _keep(path)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            with _time_limit():
                target(path)
            tally.accepted += 1
        except GeosegError as error:
            tally.refused += 1
            check_message(str(error))
        grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
        assert grown < MOST_BYTES, f"{grown:,} bytes of memory for a file of {len(content):,}"
        left = sorted(set(os.listdir(name)) - {path.name})
        assert not left, f"left behind: {left}"


def check_message(text: str) -> None:
    """One line that a person can read, without letters that a terminal acts upon."""
    assert text
    assert "\n" not in text, text
    assert len(text) <= MOST_LETTERS, text[:200]
    text.encode("utf-8")


def _keep(path: Path) -> None:
    """Keep the file that is tried where GEOSEG_FUZZ_KEEP says: what hangs or ends the process leaves no other trace."""
    folder = os.environ.get("GEOSEG_FUZZ_KEEP")
    if folder:
        shutil.copy(path, Path(folder, f"last{path.suffix}"))


@contextmanager
def _time_limit() -> Iterator[None]:
    def late(*_: object) -> None:
        raise AssertionError(f"not done in {MOST_S} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(MOST_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


# ------------------------------------------------------------------------------------------------------------- edits

LENGTHS = (0, 1, 127, 128, 255, 256, 32767, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1)
NUMBERS = tuple(n.to_bytes(size, "little") for n in LENGTHS for size in (2, 4) if n < 256**size)
"""Numbers at which binary formats break."""


def edited(starts: list[bytes], words: tuple[bytes, ...] = (), most: int = 3) -> st.SearchStrategy[bytes]:
    """Seeds with a few places overwritten, cut out, doubled, or replaced by words that mean something there."""
    pieces = st.one_of(st.binary(min_size=1, max_size=8), st.sampled_from((*NUMBERS, *words)))
    edit = st.tuples(st.sampled_from(["over", "in", "out", "cut", "twice"]), st.floats(0, 1), pieces)

    def apply(start: bytes, edits: list[tuple[str, float, bytes]]) -> bytes:
        content = start
        for kind, where, piece in edits:
            content = _edit(content, kind, int(where * len(content)), piece)
        return content

    return st.builds(apply, st.sampled_from(starts), st.lists(edit, max_size=most))


def _edit(content: bytes, kind: str, at: int, piece: bytes) -> bytes:
    if kind == "over":
        return content[:at] + piece + content[at + len(piece) :]
    if kind == "in":
        return content[:at] + piece + content[at:]
    if kind == "out":
        return content[:at] + content[at + 4 * len(piece) :]
    return content[:at] if kind == "cut" else content[:at] + content[max(0, at - 40) :]


# --------------------------------------------------------------------------------------------------- values of a tree

ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 7, 255, 256, 4096, 10**9, 10**12, 2**63, -(2**63) - 1, 10**400, 0.5, -0.0, 1e-320,
    1e308, float("nan"), float("inf"), "", " ", "a", "\0", "\ud800", "\x1b[2J", "é" * 300, "a" * 100_000,
    "../../etc/passwd", "/dev/zero", "http://[::1", "file:///etc/passwd",
    "2001-99-99", "NO", "1e5", "#ff0000",
    "EPSG:0", "default", [], [[]], [None], {}, {"": None}, {"type": "Feature"}, [0] * 10_000,
    [[0, 0]] * 3, {"a": {"b": {"c": []}}},
)  # fmt: skip
"""What stands where something else is meant."""


def nested(levels: int) -> Any:
    """A list in a list in a list."""
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


def changed(trees: list[Any], odd: tuple[Any, ...] = ODD_VALUES, most: int = 3) -> st.SearchStrategy[Any]:
    """Trees of plain values in which a few have been replaced, left out, doubled, or added under another name."""
    values = st.one_of(st.sampled_from(odd), st.integers(), st.floats(), st.text(max_size=20))
    change = st.tuples(
        st.floats(0, 1), st.sampled_from(["put", "put", "out", "add", "twice"]), values, st.text(max_size=8)
    )

    def apply(tree: Any, changes: list[tuple[float, str, Any, str]]) -> Any:
        tree = json.loads(json.dumps(tree))
        for where, kind, value, name in changes:
            places = list(_places(tree))
            if places:
                _change(*places[min(int(where * len(places)), len(places) - 1)], kind, deepcopy(value), name)
        return tree

    return st.builds(apply, st.sampled_from(trees), st.lists(change, max_size=most))


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every place of a tree: what holds it, and its key there."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in list(items):
        yield tree, key
        yield from _places(value)


def _change(holder: Any, key: Any, kind: str, value: Any, name: str) -> None:
    if kind == "out":
        del holder[key]
    elif kind == "add" and isinstance(holder, dict):
        holder[name] = value
    elif kind == "twice" and isinstance(holder, list) and len(holder) < 1000:
        holder.append(deepcopy(holder[key]))
    else:
        holder[key] = value


def as_json(trees: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    """Trees as JSON, its dialects (NaN, lone surrogates) included."""
    return trees.map(lambda tree: json.dumps(tree).encode("utf-8", "surrogatepass"))
