"""What the site needs beyond MkDocs: pages for notebooks, and for the files of the repository to which pages link.

Pages link to configs, source files and READMEs outside of `docs/`, as readers of the repository need it. On the site,
each of these files is a page under `repository/`, and the links lead there.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page
from nbconvert import MarkdownExporter

ROOT = Path(__file__).resolve().parents[2]
DOCS = "docs"
SHELF = "repository"
LINK = re.compile(r"(\]\()(?![a-z]+:|#)([^)#\s]+)(?=[)#])")
"""A relative link of Markdown, without its anchor."""
LANGUAGES = {".py": "python", ".toml": "toml", ".yaml": "yaml", ".yml": "yaml"}
IN_NAVIGATION = {"CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md", "sample_data/README.md"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are no Markdown of the documentation."""
    for path in sorted((ROOT / DOCS).glob("notebooks/*.ipynb")):
        _add_notebook(path, files, config)
    _add_repository(files, config)
    return files


def _add_notebook(path: Path, files: Files, config: MkDocsConfig) -> None:
    """Add a notebook as a page, and its pictures; the notebook itself can be loaded from there."""
    uri = path.relative_to(ROOT / DOCS).with_suffix(".md").as_posix()
    resources = {"output_files_dir": f"{path.stem}_files"}
    body, found = MarkdownExporter().from_notebook_node(nbformat.read(path, as_version=4), resources=resources)
    download = f"[This page as a notebook]({path.name})"
    text = re.sub(r"!\[(?:png|jpeg)\]\(", "![A picture that the cell above shows](", body)
    files.append(File.generated(config, uri, content=text.replace("\n\n", f"\n\n{download}\n\n", 1)))
    for name, data in found["outputs"].items():
        files.append(File.generated(config, f"{Path(uri).parent.as_posix()}/{name}", content=data))


def _add_repository(files: Files, config: MkDocsConfig) -> None:
    """Add a page for each file outside of the documentation that a page names, and for those that these name."""
    found = set(IN_NAVIGATION)
    pages = [f"{DOCS}/{file.src_uri}" for file in files.documentation_pages() if not file.generated_by]
    waiting = [*IN_NAVIGATION, *pages]
    while waiting:
        path = waiting.pop()
        for target in _targets(path):
            if _is_outside(target) and target not in found:
                found.add(target)
                waiting.append(target)
    for path in sorted(found):
        level = InclusionLevel.INCLUDED if path in IN_NAVIGATION else InclusionLevel.NOT_IN_NAV
        files.append(File.generated(config, _page_of(path), content=_as_markdown(path), inclusion=level))


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead the links to files of the repository to their pages."""
    here = _path_of(page.file.src_uri)
    start = posixpath.dirname(page.file.src_uri)

    def lead(match: re.Match[str]) -> str:
        target = _resolve(here, match[2])
        if target.endswith(".ipynb") and target.removesuffix(".ipynb") != here.removesuffix(".md"):
            target = target.removesuffix(".ipynb") + ".md"
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
