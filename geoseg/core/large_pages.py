"""Large pages for PyTorch's arrays, where Linux gives them to those who ask (transparent huge pages, `madvise`).

Maps of a network's layers are made and freed for each window; with pages of 4 KB, getting these took a CPU a third of
its time (`benchmarks/README.md`).
"""

from __future__ import annotations

import os

VARIABLE = "THP_MEM_ALLOC_ENABLE"
"""PyTorch's variable of the environment, which it reads when it makes its first array."""


def use_large_pages() -> None:
    """Let PyTorch ask for pages of 2 MB, unless the environment says otherwise."""
    os.environ.setdefault(VARIABLE, "1")
