"""How Sphinx makes the pages: ``make docs``.  Nothing is fetched from the network."""

import re

from docutils import nodes
from sphinx.application import Sphinx

import darknet_bn

project = "darknet_bn"
author = "the darknet_bn developers"
release = darknet_bn.__version__
html_title = f"darknet_bn {release}"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_click",
    "sphinx-mathjax-offline",  # formulas, without a script from elsewhere
]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
default_role = "code"  # single backticks in docstrings are names

autodoc_typehints = "none"  # numpydoc's sections say more
autosummary_generate = False
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_copyright = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}
pygments_style = "friendly"
pygments_dark_style = "monokai"

_WIDE = 100  # characters; a line that is longer does not fit the page


def _escape(*arguments: object) -> None:
    """Make stars in docstrings and help stand for themselves, as in ``(n, *shape)``."""
    lines = arguments[-1]
    lines[:] = [re.sub(r"(?<=[ /(,'])\*(?=[\w.])", r"\\*", line) for line in lines]


def _wrap(app: Sphinx, doctree: nodes.document) -> None:
    """Let long lines of messages be wrapped; tables keep their columns."""
    for block in doctree.findall(nodes.literal_block):
        lines = block.astext().splitlines()
        tables = any(line.startswith("layer  section") for line in lines)
        if max(map(len, lines), default=0) > _WIDE and not tables:
            block["classes"].append("wrap")


def setup(app: Sphinx) -> None:
    """Listen to what autodoc and sphinx-click read."""
    app.connect("doctree-read", _wrap)
    app.connect("autodoc-process-docstring", _escape, priority=100)  # before numpydoc
    app.connect("sphinx-click-process-description", _escape)
    app.connect("sphinx-click-process-options", _escape)
