"""Functions that numba compiles, wherever what it compiled can be kept, or not at all."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest
from numba.core.caching import CompileResultCacheImpl, IndexDataCacheFile

from geoseg.core.compiler import compiled


@pytest.fixture
def function(tmp_path, monkeypatch):
    """A function of a file of its own, not yet compiled."""
    (tmp_path / "some_module.py").write_text("def twice(number):\n    return 2 * number\n")
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("some_module", None)
    from some_module import twice

    return twice


def kept(folder: Path) -> list[Path]:
    return sorted((folder / "__pycache__").glob("*.nb?"))


def test_what_was_compiled_is_kept(tmp_path, function):
    assert compiled(function)(2) == 4
    assert len(kept(tmp_path)) == 2
    again = compiled(function)
    assert again(2) == 4
    assert sum(again.stats.cache_hits.values()) == 1


def test_an_installation_that_cannot_be_written_to_compiles_anew(tmp_path, function, monkeypatch):
    monkeypatch.setattr(CompileResultCacheImpl, "_locator_classes", [])
    assert compiled(function)(2) == 4
    assert not kept(tmp_path)


def test_a_full_disk_is_no_error(tmp_path, function, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(IndexDataCacheFile, "_save_data", full)
    assert compiled(function)(2) == 4


@pytest.mark.parametrize("damage", [b"", b"\0" * 100, b"\x80\x05"])
@pytest.mark.parametrize("end", [".nbi", ".nbc"])
def test_what_a_power_cut_left_is_made_anew(tmp_path, function, damage, end):
    compiled(function)(2)
    for path in kept(tmp_path):
        if path.suffix == end:
            path.write_bytes(damage)
    assert compiled(function)(2) == 4
    again = compiled(function)
    assert again(2) == 4
    assert sum(again.stats.cache_hits.values()) == 1


def test_a_library_that_nothing_can_be_written_by_imports(tmp_path):
    code = (
        "from numba.core.caching import CompileResultCacheImpl as cache\n"
        "cache._locator_classes = []\n"
        "import geoseg.commands.vectorize\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


def test_what_was_compiled_runs_without_the_compiler_and_what_calls_it_compiles(tmp_path):
    (tmp_path / "loops.py").write_text(
        "from geoseg.core.compiler import compiled\n"
        "import numpy as np\n"
        "@compiled\n"
        "def squares(count):\n    return np.arange(count) ** 2\n"
        "@compiled\n"
        "def total(count):\n    return squares(count).sum()\n"
    )
    first = "import loops; assert loops.squares(4).tolist() == [0, 1, 4, 9]"
    again = (
        "import sys; "
        f"{first}; assert 'numba.np.linalg' not in sys.modules and sum(loops.squares.stats.cache_hits.values()) == 1; "
        "assert loops.total(4) == 14 and 'numba.np.linalg' in sys.modules"
    )
    for code in (first, again):
        subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
