"""Results while they are unfinished: each beside its final place, all of them gone if anything fails.

In: where results are to be. Out: where they are written until they are published, the main one last.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from geoseg.core.errors import OutputError
from geoseg.core.files import publish, sync_names, workspace


@dataclass(frozen=True)
class Drafts:
    """Where unfinished results are written."""

    main: Path
    """The result that is published last: who finds it finds all that belongs to it."""
    paths: tuple[Path, ...]
    """Where all results are to be."""
    folders: Mapping[Path, Path]
    """The folder of drafts beside each folder of results."""

    def __getitem__(self, path: Path) -> Path:
        """Where a result is written; its name is plain, for libraries misread some that files may have."""
        stems = list(dict.fromkeys(path.stem for path in self.paths))
        return self.folders[path.parent] / f"draft{stems.index(path.stem)}{path.suffix}"

    @contextmanager
    def publishing(self) -> Iterator[None]:
        """Publish what is finished at the end, also if the rest fails; an older file of the rest goes, it is stale.

        Raises:
            OutputError: if nothing failed, and yet something is not there.
        """
        is_complete = False
        try:
            yield
            is_complete = True
        finally:
            missing = [path for path in self.paths if not self[path].exists()]
            for path in sorted(self.paths, key=lambda path: path == self.main):
                if path not in missing:
                    publish(self[path], path)
                else:
                    path.unlink(missing_ok=True)
            for folder in self.folders:
                sync_names(folder)
        if is_complete and missing:
            raise OutputError(f"cannot write {missing[0]}: its draft was removed meanwhile: --resume makes it again")


@contextmanager
def open_drafts(main: Path, paths: Iterable[Path]) -> Iterator[Drafts]:
    """Folders for the drafts of results, beside each of their folders; gone at the end.

    Args:
        main: the result that is published last, and by which folders of drafts are called.
        paths: where all results are to be, the main one among them.
    """
    wanted, folders = tuple(paths), dict[Path, Path]()
    place = hashlib.sha256(os.fsencode(main.absolute())).hexdigest()[:8]
    with ExitStack() as stack:
        for folder in dict.fromkeys(path.parent for path in wanted):
            name = main.stem if folder == main.parent else f"{main.stem}.{place}"
            folders[folder] = stack.enter_context(workspace(folder / name))
        yield Drafts(main, wanted, folders)
