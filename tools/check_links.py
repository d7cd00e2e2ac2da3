"""Find links of a built site that lead nowhere: ``python tools/check_links.py docs/_build``.

Sphinx warns of references in its sources.  This looks at the built pages: every ``href`` and
``src`` that stays on the site, anchors included.
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The links and the anchors of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = {""}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the links of a tag, and its anchors."""
        for key, value in attrs:
            if value and key in ("href", "src"):
                self.links.append(value)
            elif value and key in ("id", "name"):
                self.anchors.add(value)


def broken(site: Path) -> list[str]:
    """Return every link that leads nowhere, after the page that it is on."""
    pages = {path.resolve(): Page(path) for path in sorted(site.rglob("*.html"))}
    lost = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchors = pages[target].anchors if target in pages else {""}
            # Other files than pages have no anchors; scripts and sources only have to exist.
            known = unquote(parts.fragment) in anchors or target not in pages
            if not target.is_file() or not known:
                lost.append(f"{path.relative_to(site.resolve())}: {link}")
    return lost


def main() -> int:
    """Print the broken links, and return 1 if there are any."""
    site = Path(sys.argv[1])
    lost = broken(site)
    print("\n".join(lost) or f"{len(list(site.rglob('*.html')))} pages, every link leads somewhere")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
