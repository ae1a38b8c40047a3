"""What the site needs beyond MkDocs: pages for the files of the repository to which the documentation links.

Pages link to configs, source files and READMEs outside of `docs/`, as readers of the repository need it. On the site,
each of these files is a page under `repository/`, and the links lead there.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
DOCS = "docs"
SHELF = "repository"
LINK = re.compile(r"(\]\()(?![a-z]+:|#)([^)#\s]+)(?=[)#])")
"""A relative link of Markdown, without its anchor."""
LANGUAGES = {".py": "python", ".toml": "toml", ".yaml": "yaml", ".yml": "yaml"}
IN_NAVIGATION = {"CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md", "sample_data/README.md"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each file outside of the documentation that a page names, and for those that these name."""
    found = set(IN_NAVIGATION)
    waiting = [*IN_NAVIGATION, *(f"{DOCS}/{file.src_uri}" for file in files.documentation_pages())]
    while waiting:
        path = waiting.pop()
        for target in _targets(path):
            if _is_outside(target) and target not in found:
                found.add(target)
                waiting.append(target)
    for path in sorted(found):
        level = InclusionLevel.INCLUDED if path in IN_NAVIGATION else InclusionLevel.NOT_IN_NAV
        files.append(File.generated(config, _page_of(path), content=_as_markdown(path), inclusion=level))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead the links to files of the repository to their pages."""
    here = _path_of(page.file.src_uri)
    start = posixpath.dirname(page.file.src_uri)

    def lead(match: re.Match[str]) -> str:
        target = _resolve(here, match[2])
        uri = _page_of(target) if _is_outside(target) else target.removeprefix(f"{DOCS}/")
        return match[1] + posixpath.relpath(uri, start or ".")

    return LINK.sub(lead, markdown)


def _targets(path: str) -> Iterator[str]:
    """Paths, from the top of the repository, of the files to which a page links."""
    if path.endswith(".md"):
        for match in LINK.finditer((ROOT / path).read_text(encoding="utf-8")):
            yield _resolve(path, match[2])


def _resolve(page: str, link: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), link))


def _is_outside(path: str) -> bool:
    """Whether a file is no page or picture of the documentation, but one that is shown as it is in the repository."""
    return not path.startswith(f"{DOCS}/") or path.endswith((".py", ".toml", ".yaml"))


def _page_of(path: str) -> str:
    return f"{SHELF}/{path}" if path.endswith(".md") else f"{SHELF}/{path}.md"


def _path_of(uri: str) -> str:
    if not uri.startswith(f"{SHELF}/"):
        return f"{DOCS}/{uri}"
    path = uri.removeprefix(f"{SHELF}/")
    return path if (ROOT / path).exists() else path.removesuffix(".md")


def _as_markdown(path: str) -> str:
    text = (ROOT / path).read_text(encoding="utf-8")
    if path.endswith(".md"):
        return text
    return f"# {Path(path).name}\n\n`{path}`\n\n````{LANGUAGES.get(Path(path).suffix, 'text')}\n{text}````\n"
