"""Notices of a run as a tag of the rasters that it wrote, so that they reach whoever opens these.

In: sentences. Out: tags; and the sentences of tags.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from geoseg.core.errors import SpecError
from geoseg.core.naming import visible
from geoseg.spec import parse_json

NOTICES_TAG = "GEOSEG_NOTICES"
"""Tag that holds notices, a list of texts as JSON."""


def notices_tags(notices: Sequence[str]) -> dict[str, str]:
    """The tag of some notices; none without notices."""
    return {NOTICES_TAG: json.dumps(notices, ensure_ascii=False)} if notices else {}


def stated_notices(tags: Mapping[str, str]) -> tuple[str, ...]:
    """The notices in the tags of a raster; none where they cannot be read."""
    try:
        found = parse_json(tags.get(NOTICES_TAG, "[]"), NOTICES_TAG)
    except SpecError:
        return ()
    return tuple(visible(line) for line in found if isinstance(line, str)) if isinstance(found, list) else ()
