"""The README.md of a model's folder, as the Hugging Face Hub has it. In: a source. Out: what its head says."""

from __future__ import annotations

import re

from geoseg.models.layouts.source import Source

README = "README.md"
_HEAD = re.compile(r"\A---\s*\n(.*?)\n---\s*$", re.DOTALL | re.MULTILINE)
_LICENCE = re.compile(r"^licen[sc]e:[ \t]*['\"]?([^'\"\n#]+?)['\"]?[ \t]*$", re.MULTILINE)
_LICENCE_NAME = re.compile(r"^licen[sc]e_name:[ \t]*['\"]?([^'\"\n#]+?)['\"]?[ \t]*$", re.MULTILINE)
OTHER = "other"
"""The Hub's word for a licence that has a name of its own."""


def licence_of(source: Source) -> str | None:
    """The licence that the head of README.md names; None if there is none."""
    head = _HEAD.match(source.text(README).replace("\r\n", "\n"))
    found = _LICENCE.search(head[1]) if head else None
    if head is None or found is None:
        return None
    name = _LICENCE_NAME.search(head[1]) if found[1] == OTHER else None
    return name[1] if name else found[1]
