"""What the site needs beyond the pages: files of the repository that they link to.

A page may link to a file outside `docs/` by its relative path, as in
`../examples/quickstart.py`, so that the link works where the Markdown is read in the
repository. On the site the file is a page of its own below `source/`, or a picture.
"""

import logging
import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

_logger = logging.getLogger("mkdocs.plugins.repository")

_ROOT = Path(__file__).parents[2]
_LINK = re.compile(r"(?<=\]\()(?P<path>[^)#:\s]+)(?P<anchor>#[^)\s]*)?(?=\))")
_REMOTE = re.compile(
    r"<(?:script|link|img|iframe)\b[^>]*?(?:src|href)=\"?(?:https?:)?//[^>]*>"
)
_PICTURES = {".png", ".svg", ".jpg", ".gif"}
_LANGUAGES = {".py": "python", ".toml": "toml", ".yml": "yaml", ".mjs": "javascript"}


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the changelog, and what the pages link to outside `docs/`."""
    files.append(_file("CHANGELOG.md", config))
    for page in list(files.documentation_pages()):
        for path in re.finditer(_LINK, page.content_string):
            target = _outside(page.src_uri, path["path"])
            if target and (_ROOT / target).is_file() and _uri(target) not in files.src_uris:
                files.append(_file(target, config))
    return files


def on_page_markdown(
    markdown: str,
    *,
    page: Page,
    config: MkDocsConfig,  # noqa: ARG001
    files: Files,
) -> str:
    """Point links that leave `docs/` to where the site has the file."""

    def replace(link: re.Match[str]) -> str:
        target = _outside(page.file.src_uri, link["path"])
        if target is None:
            return link[0]
        if _uri(target) not in files.src_uris:
            _logger.warning("%s links to %s, which is no file", page.file.src_uri, target)
            return link[0]
        uri = posixpath.relpath(_uri(target), posixpath.dirname(page.file.src_uri) or ".")
        return uri + (link["anchor"] or "")

    return re.sub(_LINK, replace, markdown)


def on_post_page(output: str, *, page: Page, config: MkDocsConfig) -> str:  # noqa: ARG001
    """Refuse whatever a browser would fetch from elsewhere to show the page."""
    for tag in _REMOTE.findall(output):
        if 'rel="canonical"' not in tag:
            _logger.warning("%s fetches something remote: %s", page.file.src_uri, tag)
    return output


def _outside(page: str, link: str) -> str | None:
    """The path in the repository, if a link of a page leaves `docs/`."""
    inside = page.startswith("source/")
    base = page.removeprefix("source/") if inside else posixpath.join("docs", page)
    target = posixpath.normpath(posixpath.join(posixpath.dirname(base), link))
    return None if target.startswith(("docs/", "..", "/")) else target


def _uri(target: str) -> str:
    if target == "CHANGELOG.md":
        return "changelog.md"
    name = target if Path(target).suffix in {*_PICTURES, ".md"} else f"{target}.md"
    return f"source/{name}"


def _file(target: str, config: MkDocsConfig) -> File:
    path = _ROOT / target
    if path.suffix in _PICTURES:
        return File.generated(config, _uri(target), content=path.read_bytes())
    text = path.read_text("utf-8")
    if path.suffix != ".md":
        language = _LANGUAGES.get(path.suffix, "text")
        text = f"# {target}\n\n~~~~{language}\n{text}\n~~~~\n"
    return File.generated(config, _uri(target), content=text)
