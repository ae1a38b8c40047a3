"""The documentation builds as a site, without a complaint and without a network, and needs none where it is read."""

import re
import socket
from html.parser import HTMLParser
from pathlib import Path

import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config

CONFIG = Path(__file__).resolve().parents[1] / "docs" / "site" / "mkdocs.yml"
FETCHED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "audio": "src"}
"""Attributes whose address a browser fetches by itself; of a `link`, its `href`."""


class Fetched(HTMLParser):
    """Collects what a browser fetches to show a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag == "link" and not {"canonical", "prev", "next"} & set((given.get("rel") or "").split()):
            self.addresses.append(given["href"])
        elif tag in FETCHED and given.get(FETCHED[tag]):
            self.addresses.append(given[FETCHED[tag]])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built site."""
    folder = tmp_path_factory.mktemp("site")

    def refuse(*_):
        raise AssertionError("the build asked a network")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        patch.setattr(socket, "getaddrinfo", refuse)
        patch.setenv("NO_MKDOCS_2_WARNING", "1")
        config = load_config(str(CONFIG), strict=True, site_dir=str(folder))
        config.plugins.on_startup(command="build", dirty=False)
        build(config)
    return folder


def test_a_page_fetches_nothing_from_elsewhere(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        elsewhere = [a for a in Fetched(page.read_text("utf-8")).addresses if re.match(r"(\w+:)?//", a)]
        assert not elsewhere, f"{page.relative_to(site)}: {elsewhere}"
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*['\"]?(https?:)?//", sheet.read_text("utf-8")), sheet


def test_everything_that_a_page_shows_is_there(site):
    for page in site.rglob("*.html"):
        for address in Fetched(page.read_text("utf-8")).addresses:
            if page.name != "404.html" and not address.startswith("data:"):
                assert (page.parent / address.split("?")[0].split("#")[0]).exists(), f"{page}: {address}"


def test_files_of_the_repository_are_pages(site):
    text = (site / "repository" / "geoseg" / "losses" / "loss.py.html").read_text("utf-8")
    assert "class" in text
    assert "Loss" in text
    assert 'href="repository/configs/context.yaml.html"' in (site / "context.html").read_text("utf-8")
