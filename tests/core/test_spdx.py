"""Texts on licences are taken for identifiers of SPDX only if they are."""

import pytest

from geoseg.core.spdx import spdx_identifier, spdx_page


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("MIT", "MIT"),
        ("mit", "MIT"),
        ("CC BY-NC 4.0", "CC-BY-NC-4.0"),
        ("etalab-2.0", "etalab-2.0"),
        ("GPL-2.0+", "GPL-2.0+"),
        ("proprietary", None),
        ("MIT OR Apache-2.0", None),
        ("LicenseRef-Ours", None),
        ("Free for research, see the makers", None),
        ("", None),
    ],
)
def test_an_identifier_is_in_spdxs_own_spelling(text, found):
    assert spdx_identifier(text) == found


def test_a_page_is_named_by_the_licence_alone():
    assert spdx_page("GPL-2.0+") == "https://spdx.org/licenses/GPL-2.0.html"
