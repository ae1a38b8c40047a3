"""Readers can do what the documentation says: its commands run, and show what it shows."""

import pytest
from support.readers import NOT_RUN, PAGES, ROOT, Reader, blocks

RUN = [page for page in PAGES if any(block.is_run for block in blocks(page))]
LEFT_OUT = {
    "README.md": 1,
    "docs/export.md": 2,
    "docs/extending.md": 1,
    "docs/files.md": 1,
    "docs/import.md": 4,
    "docs/index.md": 1,
    "docs/install.md": 4,
    "docs/networks.md": 1,
    "docs/scaling.md": 1,
    "docs/scenes.md": 2,
    "docs/tasks/archives.md": 2,
    "docs/tasks/correcting-labels.md": 1,
    "docs/tasks/sentinel-2.md": 1,
    "docs/training.md": 3,
}
"""Blocks that the tests do not run, by page. Each says why, to its readers."""


@pytest.mark.parametrize("page", RUN, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_commands_of_a_page_work(page, tmp_path):
    Reader(tmp_path, quick=True).read(page)


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_commands_of_a_page_work_as_they_stand(page, tmp_path):
    Reader(tmp_path).read(page)


def test_blocks_that_are_not_run_say_why_and_are_counted():
    titles = {str(page.relative_to(ROOT)): [block.title for block in blocks(page)] for page in PAGES}
    found = {name: [title for title in titles[name] if title.startswith(NOT_RUN)] for name in titles}
    assert {name: len(left_out) for name, left_out in found.items() if left_out} == LEFT_OUT
    assert all(len(title) > len(NOT_RUN) for left_out in found.values() for title in left_out)
