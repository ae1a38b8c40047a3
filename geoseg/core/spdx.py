"""Licences by their identifiers in the list of SPDX (https://spdx.org/licenses)."""

from __future__ import annotations

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

_PAGE = "https://spdx.org/licenses/{}.html"


def spdx_identifier(text: str) -> str | None:
    """The identifier that a text on a licence is, in its own spelling; "CC BY 4.0" counts as CC-BY-4.0.

    None for several licences, a sentence, and a licence that SPDX does not know.
    """
    try:
        found = str(canonicalize_license_expression("-".join(text.split())))
    except InvalidLicenseExpression:
        return None
    return None if found.startswith("LicenseRef-") else found


def spdx_page(identifier: str) -> str:
    """Address of the text of a licence, given its identifier."""
    return _PAGE.format(identifier.removesuffix("+"))
