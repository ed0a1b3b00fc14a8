"""The pages under docs/: references that come from the code, links that lead somewhere, figures that are computed."""

import re
from pathlib import Path

import pytest

from re2tal.cli import app
from re2tal.config import load_config
from re2tal.experiments.explain import times_of
from tests.test_architecture import MAY_IMPORT
from tools import write_reference

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("docs/measured/*.md")])


def test_the_settings_are_those_of_the_code() -> None:
    assert (ROOT / "docs/settings.md").read_text() == write_reference.settings(), "run make docs"


def sections(text: str) -> dict[str, set[str]]:
    """Options by command. How cyclopts lays the text out around them is a matter of its version."""
    parts = re.split(r"^## (re2tal .+)$", text, flags=re.MULTILINE)
    return {name: set(re.findall(r"--[\w-]+", body)) for name, body in zip(parts[1::2], parts[2::2], strict=True)}


def test_the_commands_are_those_of_the_code() -> None:
    written = sections((ROOT / "docs/commands.md").read_text())
    assert written == sections(write_reference.commands()), "run make docs"
    assert {f"re2tal {name}" for name in app.resolved_commands() if not name.startswith("-")} == written.keys()


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(linked), f"{page.name} links to {target}"


def test_what_the_code_says_of_pages_is_right() -> None:
    """Docstrings, messages and comments that name a page name one that there is."""
    folders = ("re2tal", "configs", "benchmarks", "stress", "tools")
    files = [path for folder in folders for path in ROOT.glob(f"{folder}/**/*.py")] + [ROOT / "Makefile"]
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in files
        for name in re.findall(r"docs/[\w/]+\.md", path.read_text())
        if not (ROOT / name).is_file()
    ]
    assert not wrong


def test_there_are_few_pages() -> None:
    assert len([*ROOT.glob("docs/*.md")]) <= 19


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs/README.md").read_text()
    missing = [page.name for page in ROOT.glob("docs/*.md") if page.name != "README.md" and page.name not in index]
    assert not missing


def test_the_levels_in_seconds_are_those_of_the_published_experiment() -> None:
    config = load_config(ROOT / "configs/re2tal/e2e_thumos_re2tal_actionformer_swin_tiny.py", [])
    page = (ROOT / "docs/README.md").read_text()
    levels = times_of(config, fps=30).levels
    for level in levels[:-1]:
        assert f"{level.shortest_seconds:.3g}-{level.longest_seconds:.3g} s" in page
    assert f"from {levels[-1].shortest_seconds:.3g} s" in page


def test_the_table_of_the_architecture_is_the_one_that_is_held() -> None:
    page = (ROOT / "docs/architecture.md").read_text()
    rows = re.findall(r"^\| `(\w+)/` \|.*\| ([^|]+) \|$", page, flags=re.MULTILINE)
    table = {part: set(may.split(", ")) for part, may in rows if part in MAY_IMPORT}
    nothing = {"nothing of the package"}, {"nothing but torch"}
    assert {part: set() if may in nothing else may for part, may in table.items()} == MAY_IMPORT


def test_the_path_of_the_data_names_what_there_is() -> None:
    """Each hop of the diagrams: a file of the package, and what is in it."""
    page = (ROOT / "docs/architecture.md").read_text()
    diagrams = re.findall(r"```text\n(.*?)```", page, flags=re.DOTALL)
    hops = [hop for diagram in diagrams for hop in re.findall(r"([\w/]+\.py)(?:: | +)([\w.]+)", diagram)]
    assert len(hops) >= 15
    for file, name in hops:
        text = (ROOT / "re2tal" / file).read_text()
        assert all(re.search(rf"\b(class|def) {part}\b", text) for part in name.split(".")), f"{file}: {name}"
