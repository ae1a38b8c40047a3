"""Folders of the user's own cache, beside that of downloaded models, which nobody else can write."""

from __future__ import annotations

import os
import stat
from pathlib import Path

KEPT_S = 90 * 86400
"""What was not used for so many seconds is removed."""
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def user_folder(name: str) -> Path:
    """Path of a folder of the cache, which may be missing."""
    from huggingface_hub import constants

    return Path(os.path.expanduser(constants.HF_ASSETS_CACHE), "geoseg", name)  # without a home, the text as it is


def make_own(folder: Path) -> bool:
    """Make a folder, unless it is there; whether it is the user's own."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return is_own(os.lstat(folder))


def is_own(state: os.stat_result) -> bool:
    """Whether a file or folder belongs to this user, and no other user may write it; where users are known."""
    if stat.S_ISLNK(state.st_mode):
        return False
    return not hasattr(os, "getuid") or (state.st_uid == os.getuid() and not state.st_mode & _OTHERS_WRITE)
