"""Networks fused by torch.compile: the code that is compiled is kept for the next process, where nobody else writes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.context_networks import TINY
from support.models import make_spec
from support.reporters import Heard
from torch._inductor import cpp_builder

from geoseg.core.errors import SpecError
from geoseg.models import fused
from geoseg.models.build import build_network
from geoseg.models.bundle import save_model
from geoseg.models.runner import Runner, RunnerOptions
from geoseg.spec import NetworkSpec

FOLDER = "TORCHINDUCTOR_CACHE_DIR"
FORWARD = """
import hashlib, sys
import numpy as np
from geoseg.models.bundle import load_model
from geoseg.models.runner import Runner, RunnerOptions

model = load_model(sys.argv[1])
runner = Runner(model.module, "cpu", "fp32", RunnerOptions(multiple=8, bands=3, compiled_sizes={(64, 64)}))
image = np.random.default_rng(0).integers(1, 255, (1, 3, 64, 64)).astype(np.float32)
print(hashlib.sha256(runner(image).numpy().tobytes()).hexdigest())
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder of what is compiled, with no other named by the environment."""
    monkeypatch.setenv(FOLDER, "")  # restored after the test
    monkeypatch.setattr(fused, "user_folder", lambda name: tmp_path / name)
    return tmp_path / "compiled"


def test_what_is_compiled_is_kept_where_nobody_else_can_write(folder: Path) -> None:
    fused.keep_compiled()
    kept = Path(os.environ[FOLDER])
    assert kept == folder / torch.__version__
    if os.name == "posix":
        assert kept.stat().st_mode & 0o777 == folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_the_environment_names_is_taken(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER, "/elsewhere")
    fused.keep_compiled()
    assert os.environ[FOLDER] == "/elsewhere"
    assert not folder.exists()


def test_the_folder_that_the_compiler_has_chosen_itself_is_not_taken(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch._inductor.codecache import cache_dir

    monkeypatch.delenv(FOLDER)
    cache_dir()  # sets the variable
    assert os.environ[FOLDER]
    fused.keep_compiled()
    assert os.environ[FOLDER] == str(folder / torch.__version__)


@pytest.mark.skipif(os.name != "posix", reason="no modes of files")
@pytest.mark.parametrize("harm", ["open to others", "a link", "a file"])
def test_a_folder_that_others_could_have_changed_is_not_taken(harm: str, folder: Path, tmp_path: Path) -> None:
    if harm == "open to others":
        (folder / torch.__version__).mkdir(parents=True)
        (folder / torch.__version__).chmod(0o777)
    elif harm == "a link":
        (tmp_path / "other").mkdir()
        folder.mkdir(mode=0o700)
        (folder / torch.__version__).symlink_to(tmp_path / "other")
    else:
        folder.write_text("a file in the place of the folder")
    fused.keep_compiled()
    passing = Path(os.environ[FOLDER])
    assert folder not in passing.parents
    assert passing.stat().st_mode & 0o777 == 0o700
    assert not list(passing.iterdir())
    passing.rmdir()


def test_what_is_no_longer_used_is_removed(folder: Path) -> None:
    old = folder / "1.0"
    (old / "code").mkdir(parents=True)
    folder.chmod(0o700)
    os.utime(old, (0, 0))
    fused.keep_compiled()
    assert [path.name for path in folder.iterdir()] == [torch.__version__]


def test_a_missing_compiler_is_an_error_in_a_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> str:
        raise RuntimeError("No working C++ compiler found")

    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", fail)
    network = build_network(make_spec(3, bands=("red", "green", "blue"), network=NetworkSpec(**TINY)))
    with pytest.raises(SpecError, match=r"needs a C\+\+ compiler, .* missing here: install one, or leave"):
        Runner(network, "cpu", "fp32", RunnerOptions(compiled_sizes={(64, 64)}))
    assert not folder.exists()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
def test_a_second_process_compiles_nothing(tmp_path: Path) -> None:
    torch.manual_seed(0)
    spec = make_spec(3, bands=("red", "green", "blue"), network=NetworkSpec(**TINY))
    bundle = save_model(build_network(spec), spec, tmp_path / "m.safetensors")
    compiler, calls = tmp_path / "compiler", tmp_path / "calls"
    compiler.write_text(f'#!/bin/sh\necho "$@" >> {calls}\nexec g++ "$@"\n')
    compiler.chmod(0o700)
    environment = {name: value for name, value in os.environ.items() if name != FOLDER}
    environment |= {"HF_ASSETS_CACHE": str(tmp_path / "assets"), "CXX": str(compiler)}
    found = []
    for _ in range(2):
        calls.write_text("")
        command = [sys.executable, "-c", FORWARD, str(bundle)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        compiled = sum(".cpp" in line for line in calls.read_text().splitlines())
        found.append((done.stdout.strip(), compiled))
    (first, some), (second, none) = found
    assert second == first
    assert some > 0
    assert none == 0
    assert list((tmp_path / "assets" / "geoseg" / "compiled" / torch.__version__).rglob("*.so"))


def test_on_cpus_a_notice_says_that_compiling_is_slower(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "_check_compiler", lambda: None)
    network, sizes = build_network(make_spec(bands=("red", "green", "blue"), network=TINY)), {(64, 64)}
    for compiled, wanted in ((sizes, 1), ((), 0)):
        heard = Heard()
        Runner(network, "cpu", "fp32", RunnerOptions(multiple=8, bands=3, compiled_sizes=compiled), reporter=heard)
        assert sum("leave --compile out" in line for line in heard.lines) == wanted
