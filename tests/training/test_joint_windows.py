"""Windows of several kinds: each kind keeps its own draw, and every batch holds the same number of each."""

from __future__ import annotations

from dataclasses import dataclass

from geoseg.core.events import SILENT
from geoseg.training.loader import Loader
from geoseg.training.windows.joint_windows import JointWindows, Stream


@dataclass
class Counted:
    """Windows that are their own epoch and number."""

    epoch: int = 0
    prepared: bool = False

    def prepare(self, reporter: object) -> None:
        self.prepared = True

    def __getitem__(self, index: int) -> tuple[int, int]:
        return self.epoch, index


def joint() -> JointWindows:
    return JointWindows({"labelled": Stream(Counted(), list, 2), "unlabelled": Stream(Counted(), tuple, 4)})


def test_batches_hold_windows_of_each_kind_each_once() -> None:
    windows = joint()
    windows.epoch = 3
    loader = Loader(windows, windows.batches(2), windows.stack)
    assert list(loader) == [
        {"labelled": [(3, 0), (3, 1)], "unlabelled": ((3, 0), (3, 1), (3, 2), (3, 3))},
        {"labelled": [(3, 2), (3, 3)], "unlabelled": ((3, 4), (3, 5), (3, 6), (3, 7))},
    ]


def test_processes_share_the_windows_of_each_kind() -> None:
    windows = joint()
    loader = Loader(windows, windows.batches(1), windows.stack)
    parts = [next(iter(loader.split(process, 2))) for process in range(2)]
    assert [len(part["labelled"]) for part in parts] == [1, 1]
    assert sorted(index for part in parts for _, index in part["unlabelled"]) == [0, 1, 2, 3]


def test_all_kinds_are_prepared() -> None:
    windows = joint()
    windows.prepare(SILENT)
    assert all(stream.windows.prepared for stream in windows.streams.values())
