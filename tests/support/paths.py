"""The paths of the project's folders, for tests anywhere."""

from pathlib import Path

PROJECT = Path(__file__).parents[2]
FIXTURES = PROJECT / "tests" / "fixtures"
TOOLS = PROJECT / "tools"
