"""Beginning and resuming the work of a prediction.

In: a work folder that was left at any time, in any state. Out: an empty one, or one that holds only intact tile rows
of this work, and the seams between them. Everything else is removed, to be made again.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from geoseg.core.errors import OutputError
from geoseg.core.events import SILENT, Reporter
from geoseg.core.files import write_errors
from geoseg.core.wording import number_of
from geoseg.inference.checksums import SEAL_END, Seal, read_seal
from geoseg.inference.work_folder import Manifest, Record, WorkFolder, seam_name, tile_row_name


def begin(
    work: WorkFolder,
    manifest: Manifest,
    *,
    resume: bool,
    kept: frozenset[str] = frozenset(),
    reporter: Reporter = SILENT,
) -> None:
    """Begin or resume the work that a manifest describes.

    Args:
        work: the work folder.
        manifest: scene, model and settings of the work.
        resume: whether to keep the tile rows that are finished.
        kept: outputs that each tile row must hold besides classes, as `kept_outputs` names them.
        reporter: takes notices.

    Raises:
        OutputError: if what was begun there is something else, cannot be removed, or nothing can be written.
    """
    begun = work.read_manifest()
    if begun is None or not resume:
        if begun is not None:
            reporter.notice("an unfinished run is replaced; --resume would have gone on with it")
        elif resume and _finished(work):
            reporter.notice("an unfinished run is damaged beyond repair: beginning anew")
        work.begin(manifest)
    elif begun.key != manifest.key:
        raise OutputError(
            f"{work.path} holds the work of another scene, model or settings that decide pixels, or of another version "
            "of geoseg: use the same again, or leave --resume out to begin anew"
        )
    else:
        work.take_over(manifest)
        with write_errors(work.path.parent):
            found = clean(work, kept)
        reporter.notice(f"going on with an unfinished run: {number_of(found.whole, 'tile row')} finished")
        if found.short:
            lacking = ", ".join(sorted(found.lacking))
            reporter.notice(f"{found.short} more were finished without {lacking}: they are made again")
        if found.damaged:
            reporter.notice(
                f"{found.damaged} more were finished but are damaged, perhaps by a power cut: they are made again"
            )


@dataclass(frozen=True)
class Cleaned:
    """Result of cleaning a work folder."""

    whole: int
    """Number of tile rows that are finished and intact."""
    short: int
    """Number of tile rows that were removed for lack of a wanted output."""
    lacking: frozenset[str]
    """The outputs that these lack."""
    damaged: int
    """Number of tile rows that were finished and are damaged."""


def clean(work: WorkFolder, kept_for: frozenset[str]) -> Cleaned:
    """Remove files that are damaged, incomplete or of other work, and tile rows that lack a wanted output.

    Raises:
        OSError: if something cannot be removed.
    """
    finished = _finished(work)
    seals = dict(_whole(work))
    lacks = {name: kept_for - Record.load(work.record(name)).kept for name in seals if name[0].isdecimal()}
    seals = {name: seal for name, seal in seals.items() if not lacks.get(name)}
    kept = {i for i in finished if tile_row_name(i) in seals and _is_joined_or_can_be(work, i, seals)}
    wanted = {work.manifest_path, *_files_of(work, seals, kept)}
    for path in work.path.iterdir():
        if path not in wanted:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    gone = [i for i in finished if i not in kept]
    short = [i for i in gone if lacks.get(tile_row_name(i)) or lacks.get(seam_name(i))]
    return Cleaned(len(kept), len(short), frozenset().union(*lacks.values()), len(gone) - len(short))


def _finished(work: WorkFolder) -> list[int]:
    """Tile rows that were finished, intact or not."""
    names = [path.name.removesuffix(SEAL_END) for path in work.path.glob(f"*{SEAL_END}")]
    return [int(name) for name in names if name.isdecimal() and tile_row_name(int(name)) == name]


def _whole(work: WorkFolder) -> Iterator[tuple[str, Seal]]:
    """Seals of this work whose permanent files are intact, by name."""
    for path in work.path.glob(f"*{SEAL_END}"):
        name, seal = path.name.removesuffix(SEAL_END), read_seal(path, work.manifest.key)
        if seal is not None and all(seal.holds(work.path / file) for file in seal.files if not _passes(file)):
            yield name, seal


def _passes(file: str) -> bool:
    """Whether a file is temporary: kept until a seam is finished."""
    return file.endswith((".below", ".above"))


def _is_joined_or_can_be(work: WorkFolder, i: int, seals: Mapping[str, Seal]) -> bool:
    """Whether an intact tile row's upper seam is finished, or can be from files that are there or will be made."""
    own, upper = seals[tile_row_name(i)], seals.get(tile_row_name(i - 1))
    if work.above(i).name not in own.files or seam_name(i) in seals:
        return True
    below = work.below(i - 1)
    return own.holds(work.above(i)) and (upper is None or below.name not in upper.files or upper.holds(below))


def _files_of(work: WorkFolder, seals: Mapping[str, Seal], kept: set[int]) -> Iterator[Path]:
    """All files that stay: those of tile rows that are kept, of their seams, and those common to all."""
    tile_rows = {tile_row_name(i) for i in kept}
    seams = {seam_name(i) for i in kept if work.above(i).name in seals[tile_row_name(i)].files}
    for name, seal in seals.items():
        if name in tile_rows | seams or not name[0].isdecimal():
            yield work.seal(name)
            yield from (work.path / file for file in seal.files if not _passes(file) or seal.holds(work.path / file))
