"""What the system does to a run, in one line."""

import errno
import os

import pytest

from geoseg.core.errors import SceneError
from geoseg.core.system_errors import as_geoseg_error, system_failure


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
        ImportError("libtorch.so: failed to map segment from shared object"),
        RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("can't start new thread"),
        OSError("read.cpp: Out of memory allocating 9 bytes"),
    ],
)
def test_lack_of_memory_is_told_as_such(error):
    assert str(system_failure(error)).startswith("out of memory: ")


def chained(*, hidden):
    """An error on account of a lack of memory, which it may hide."""
    error = OSError("cannot load the library")
    error.__context__ = OSError("failed to map segment from shared object")
    error.__suppress_context__ = hidden
    return error


def test_lack_of_memory_is_found_behind_what_it_led_to():
    assert str(system_failure(chained(hidden=False))).startswith("out of memory: ")
    assert system_failure(chained(hidden=True)) == "cannot load the library"


@pytest.mark.parametrize(
    "code", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EMFILE, errno.ENAMETOOLONG, errno.ESTALE, errno.ENOENT]
)
def test_an_error_of_the_file_system_names_the_file_and_what_to_do(code):
    line = str(system_failure(OSError(code, os.strerror(code), "scene.tif")))
    assert line.startswith(f"scene.tif: {os.strerror(code)}: ")


def test_an_error_without_words_gives_its_kind():
    assert system_failure(ConnectionResetError()) == "ConnectionResetError"


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("memory"), RuntimeError("shape mismatch"), ImportError()])
def test_other_errors_are_bugs(error):
    assert system_failure(error) is None
    assert as_geoseg_error(error) is None


def test_what_the_user_can_mend_is_one_kind_of_error():
    known = SceneError("no scene: check the path")
    assert as_geoseg_error(known) is known
    assert str(as_geoseg_error(MemoryError())).startswith("out of memory: ")
