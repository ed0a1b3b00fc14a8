"""docs/extending.md shows the examples as they are."""

import re

from tests.extending.conftest import EXAMPLES

PAGE = (EXAMPLES.parent / "docs/extending.md").read_text()


def lines(code: str) -> str:
    """Code without its blank lines and indentation: formatters of pages change both."""
    return "\n".join(line.strip() for line in code.splitlines() if line.strip())


def test_code_on_the_page_is_that_of_the_examples() -> None:
    sources = [lines(path.read_text()) for path in EXAMPLES.rglob("*.py")]
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 9
    for block in blocks:
        assert len(block.splitlines()) <= 30
        assert any(lines(block) in source for source in sources), block


def test_every_example_is_on_the_page() -> None:
    for path in EXAMPLES.rglob("*.py"):
        assert path.name.endswith("config.py") or str(path.relative_to(EXAMPLES.parent)) in PAGE
