"""Drafts of results: each beside its final path, all of them removed if anything fails.

In: paths of results. Out: paths of their drafts, which are published together, the main one last.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from geoseg.core.errors import OutputError
from geoseg.core.files import publish, sync_names, workspace


@dataclass(frozen=True)
class Drafts:
    """Paths of the drafts of some results."""

    main: Path
    """The result that is published last: where it exists, all others do."""
    paths: tuple[Path, ...]
    """Paths of all results."""
    folders: Mapping[Path, Path]
    """Folder of drafts by folder of results."""
    parts: Mapping[Path, tuple[Path, ...]]
    """Files that may belong to a result, beside it: they come and go with it."""

    def __getitem__(self, path: Path) -> Path:
        """Path of a result's draft; its name is plain, as libraries misread some file names."""
        stems = list(dict.fromkeys(path.stem for path in self.paths))
        return self.folders[path.parent] / f"draft{stems.index(path.stem)}{path.suffix}"

    def _publish(self, path: Path) -> None:
        """Publish a result, its parts first; older parts are removed."""
        for part in self.parts.get(path, ()):
            draft = self[path].with_name(self[path].stem + part.name.removeprefix(path.stem))
            if draft.exists():
                publish(draft, part)
            else:
                part.unlink(missing_ok=True)
        publish(self[path], path)

    @contextmanager
    def publishing(self) -> Iterator[None]:
        """Publish the finished drafts at the end, also after an error; older files of the other results are removed.

        Raises:
            OutputError: if a draft is missing without an error.
        """
        is_complete = False
        try:
            yield
            is_complete = True
        finally:
            missing = [path for path in self.paths if not self[path].exists()]
            for path in sorted(self.paths, key=lambda path: path == self.main):
                if path not in missing:
                    self._publish(path)
                else:
                    for left in (path, *self.parts.get(path, ())):
                        left.unlink(missing_ok=True)
            for folder in self.folders:
                sync_names(folder)
        if is_complete and missing:
            raise OutputError(f"cannot write {missing[0]}: its draft was removed meanwhile: --resume makes it again")


@contextmanager
def open_drafts(
    main: Path, paths: Iterable[Path], parts: Mapping[Path, tuple[Path, ...]] = MappingProxyType({})
) -> Iterator[Drafts]:
    """Create folders for the drafts of results, beside each of their folders; removed at the end.

    Args:
        main: the result that is published last, and after which the folders of drafts are named.
        paths: paths of all results, including the main one.
        parts: paths of the files that may belong to some of them.
    """
    wanted, folders = tuple(paths), dict[Path, Path]()
    place = hashlib.sha256(os.fsencode(main.absolute())).hexdigest()[:8]
    with ExitStack() as stack:
        for folder in dict.fromkeys(path.parent for path in wanted):
            name = main.stem if folder == main.parent else f"{main.stem}.{place}"
            folders[folder] = stack.enter_context(workspace(folder / name))
        yield Drafts(main, wanted, folders, parts)
