"""Bring files of the project that are outside docs/ into the site, and their links with them.

On a repository page every link leads to a file. The site has the guides at its root, README.md
as its first page, and each other file that a page links to under its place in the project.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File, InclusionLevel

PROJECT = Path(__file__).parents[1]
PAGES = ("CHANGELOG.md", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "README.md", "SECURITY.md")
OTHERS = ("CITATION.cff", "examples/*", "benchmarks/*.json")
LINK = re.compile(r"\]\((?P<target>[^)#\s]+)(?P<anchor>#[^)\s]*)?\)")


def on_files(files, config):
    """Add the pages and other files."""
    names = [*PAGES, *(path for pattern in OTHERS for path in _found(pattern))]
    for name in names:
        file = File.generated(config, _on_site(name), abs_src_path=str(PROJECT / name))
        file.inclusion = InclusionLevel.INCLUDED
        files.append(file)
    return files


def on_page_markdown(markdown, page, **_):
    """Let links to files of the project lead to their places on the site."""
    here = _in_project(page.file.src_uri)

    def rewrite(link):
        if re.match(r"[a-z]+:", link["target"]):
            return link[0]
        target = posixpath.normpath(posixpath.join(posixpath.dirname(here), link["target"]))
        if not (PROJECT / target).exists():
            return link[0]
        if (PROJECT / target).is_dir():
            target = f"{target}/README.md"
        place = posixpath.relpath(_on_site(target), posixpath.dirname(page.file.src_uri) or ".")
        return f"]({place}{link['anchor'] or ''})"

    return LINK.sub(rewrite, markdown)


def _found(pattern):
    return [path.relative_to(PROJECT).as_posix() for path in sorted(PROJECT.glob(pattern))]


def _on_site(name):
    return "index.md" if name == "README.md" else name.removeprefix("docs/")


def _in_project(uri):
    if uri == "index.md":
        return "README.md"
    return f"docs/{uri}" if (PROJECT / "docs" / uri).exists() else uri
