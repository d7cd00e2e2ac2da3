"""Where things of the project are, from wherever a test lies."""

from pathlib import Path

PROJECT = Path(__file__).parents[2]
FIXTURES = PROJECT / "tests" / "fixtures"
TOOLS = PROJECT / "tools"
