"""What every HTML page of geoseg must be: valid HTML that can be read without a mouse and without its colours."""

from __future__ import annotations

import re
from itertools import pairwise
from xml.etree.ElementTree import Element

import html5lib

HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
SCOPES = {"row", "col", "rowgroup", "colgroup"}


def parse_page(source: str) -> Element:
    """Parse a page by the rules of the HTML standard.

    Raises:
        html5lib.html5parser.ParseError: for what a browser would have to repair.
    """
    parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
    return parser.parse(source)


def check_page(source: str) -> Element:
    """Parse a page, and check what its readers need; return its root."""
    assert source.startswith("<!DOCTYPE html>")
    page = parse_page(source)
    assert page.get("lang")
    assert text(page.find("head/title"))
    body = page.find("body")
    assert len(body.findall(".//main")) == 1
    _check_headings(body)
    for table in body.iter("table"):
        _check_table(table)
    _check_images(body)
    _check_keyboard(body, source)
    assert not [one for one in page.iter() if isinstance(one.tag, str) and "style" in one.attrib]
    names = [one.get("id") for one in page.iter() if one.get("id")]
    assert len(set(names)) == len(names)
    return page


def text(element: Element) -> str:
    return " ".join("".join(element.itertext()).split())


def _check_headings(body: Element) -> None:
    """One h1, no level left out, and every section begins with a heading."""
    found = [one for one in body.iter() if one.tag in HEADINGS]
    levels = [HEADINGS.index(one.tag) + 1 for one in found]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert all(text(one) for one in found)
    for section in body.iter("section"):
        assert any(one.tag in HEADINGS for one in section.iter())


def _check_table(table: Element) -> None:
    """Every header cell says of what it is the header; one of several columns has a group of columns."""
    headers = list(table.iter("th"))
    assert headers
    assert {one.get("scope") for one in headers} <= SCOPES
    assert all(one.get("scope") == "colgroup" for one in headers if one.get("colspan"))
    if any(one.get("scope") == "colgroup" for one in headers):
        columns = sum(int(group.get("span") or len(group) or 1) for group in table.findall("colgroup"))
        assert {sum(int(cell.get("colspan", 1)) for cell in row) for row in table.iter("tr")} == {columns}
    assert all(row.find("th") is not None for row in table.iter("tr"))


def _check_images(body: Element) -> None:
    """Every picture has a text in its place, and its size; drawings are one picture, or are hidden from readers."""
    for image in body.iter("img"):
        assert image.get("alt", "").strip()
        assert image.get("width", "").isdigit()
        assert image.get("height", "").isdigit()
    for drawing in body.iter("{http://www.w3.org/2000/svg}svg"):
        named = drawing.get("role") == "img" and drawing.get("aria-label")
        assert named or drawing.get("aria-hidden") == "true"


def _check_keyboard(body: Element, source: str) -> None:
    """What scrolls can be reached by the keyboard and has a name; nothing waits for a mouse; focus is seen."""
    for one in body.iter():
        assert one.get("tabindex", "0") == "0"
        assert not [name for name in one.attrib if isinstance(name, str) and name.startswith("on")]
        if "scroll" in one.get("class", "").split():
            assert (one.get("tabindex"), one.get("role")) == ("0", "group")
            assert one.get("aria-label")
    sheet = re.search(r"<style>(.*?)</style>", source, re.DOTALL)
    assert sheet is None or ":focus-visible" in sheet[1]
    assert sheet is None or not re.search(r"outline:\s*(none|0)", sheet[1])
