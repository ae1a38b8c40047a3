"""What is read of a path that leads to something else than a file of the usual size."""

import os
import socket

import pytest

from geoseg.core.regular_files import check_regular, read_bounded


@pytest.fixture
def odd_paths(tmp_path, monkeypatch):
    """A pipe that nobody writes to, a device without an end, and a socket."""
    monkeypatch.chdir(tmp_path)  # a socket's path may have a hundred letters
    os.mkfifo("pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        yield ["pipe", "/dev/zero", "socket"]


def test_pipes_devices_and_sockets_are_refused_at_once(odd_paths):
    for path in odd_paths:
        with pytest.raises(OSError, match=r"it is a (pipe|device): save|No such device"):
            read_bounded(path)
        with pytest.raises(OSError, match=r"it is a (pipe|device|socket): save"):
            check_regular(path)


def test_no_more_is_read_than_the_bound(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(b"x" * 100)
    assert read_bounded(path, most=100) == b"x" * 100
    with pytest.raises(OSError, match="larger than"):
        read_bounded(path, most=99)


def test_what_is_not_there_is_left_to_whoever_opens_it(tmp_path):
    check_regular(tmp_path / "none")
    check_regular("a\0b")
    check_regular(tmp_path)
