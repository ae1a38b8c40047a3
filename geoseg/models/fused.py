"""Networks fused by torch.compile. In: a network, sizes of windows. Out: the same, faster for windows of these sizes.

What is compiled is kept in the user's cache, so that the next process finds it there.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from geoseg.core.errors import SpecError
from geoseg.models.segmentation import Segmenter
from geoseg.models.surroundings import NO_CONTEXT, Context
from geoseg.models.user_cache import KEPT_S, make_own, user_folder

_FOLDER = "TORCHINDUCTOR_CACHE_DIR"
"""The compiler's variable of the environment for its folder; by itself it takes one that others may make before."""
_MOST_FUSED = 8
"""Shapes of batches, level by level, for which a network is fused: torch.compile gives up beyond that, and each takes
its time."""


class Fused:
    """A network fused by torch.compile for the few sizes that nearly all windows have, and unfused for others."""

    def __init__(self, segmenter: Segmenter, sizes: Collection[tuple[int, int]], device: torch.device):
        """Prepare to fuse a network when its first window comes.

        Args:
            segmenter: the network.
            sizes: heights and widths of the windows.
            device: where it is.

        Raises:
            SpecError: if it is a CPU and there is no compiler.
        """
        if device.type == "cpu":
            _check_compiler()
        keep_compiled()
        import torch._inductor.config as inductor

        inductor.freezing = True  # weights are constants: laid out once as the kernels want them
        self._segmenter = segmenter
        self._seen: set[tuple[int, int, int, int]] = set()
        self._sizes = {*sizes, *((width, height) for height, width in sizes)}  # windows are turned, too
        self._fused: Segmenter = torch.compile(segmenter, dynamic=False)

    def __call__(self, image: Tensor, context: Context = NO_CONTEXT) -> Tensor:
        """Forward band values (B, C, H, W)."""
        height, width = image.shape[-2:]
        shape = len(image), height, width, context.level
        if (height, width) in self._sizes and len(self._seen) < _MOST_FUSED:
            self._seen.add(shape)
        return (self._fused if shape in self._seen else self._segmenter)(image, context)


def compiled_folder() -> Path:
    """The folder of all that is compiled, with one for each version of PyTorch."""
    return user_folder("compiled")


def keep_compiled() -> None:
    """Have what is compiled kept in the user's cache, unless the environment names another folder.

    Code is loaded from there: where others than this user could write, or nobody can, the folder is a new one
    that ends with the process.
    """
    given = os.environ.get(_FOLDER)
    if given and not _is_default(Path(given)):
        return
    folder = compiled_folder() / torch.__version__
    try:
        if make_own(folder.parent) and make_own(folder) and os.access(folder, os.W_OK):
            os.utime(folder)
            _remove_unused(folder.parent)
            os.environ[_FOLDER] = str(folder)
            return
    except OSError:
        pass
    passing = tempfile.mkdtemp(prefix="geoseg-compiled-")
    atexit.register(shutil.rmtree, passing, ignore_errors=True)
    os.environ[_FOLDER] = passing


def _is_default(folder: Path) -> bool:
    """Whether a folder is the one that the compiler takes by itself; it sets its variable to it when it is loaded."""
    return folder.parent == Path(tempfile.gettempdir()).absolute() and folder.name.startswith("torchinductor_")


def _remove_unused(folder: Path) -> None:
    for path in folder.iterdir():
        with suppress(OSError):
            if time.time() - path.lstat().st_mtime > KEPT_S:
                shutil.rmtree(path)


def _check_compiler() -> None:
    from torch._inductor import cpp_builder

    try:
        cpp_builder.get_cpp_compiler()
    except (OSError, RuntimeError):
        raise SpecError(
            "compile needs a C++ compiler, such as g++, which is missing here: install one, or leave out --compile"
        ) from None
