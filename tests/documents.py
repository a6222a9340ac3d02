"""The project's documents as the tests read them: sections, tables, examples and links."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PATHS = (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")), ROOT / "certs" / "README.md")

_FENCE = re.compile(r"^```([a-z]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Example:
    """A fenced block. `language` is "" where it has none."""

    place: str
    language: str
    text: str


@dataclass(frozen=True)
class Document:
    path: Path

    @property
    def name(self) -> str:
        return str(self.path.relative_to(ROOT))

    @property
    def text(self) -> str:
        return self.path.read_text("utf-8")

    @property
    def prose(self) -> str:
        """Without the fenced blocks."""
        return _FENCE.sub("", self.text)

    def examples(self, *languages: str) -> list[Example]:
        """Those in `languages`, in order."""
        found = []
        for match in _FENCE.finditer(self.text):
            line = self.text.count("\n", 0, match.start()) + 1
            found.append(Example(f"{self.name}:{line}", match[1], match[2]))
        return [example for example in found if example.language in languages]

    def inline(self) -> list[str]:
        """What stands between backticks, on one line."""
        return [" ".join(code.split()) for code in _CODE.findall(self.prose)]

    def links(self) -> list[str]:
        return _LINK.findall(self.prose)

    def anchors(self) -> set[str]:
        """As GitHub makes them of headings."""
        return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for _, title in _HEADING.findall(self.prose)}

    def section(self, title: str) -> str:
        """The text under a heading, up to the next one of its level or higher."""
        found = re.search(rf"^(#+) {re.escape(title)}\n(.*?)(?=^#{{1,2}} |\Z)", self.text, re.MULTILINE | re.DOTALL)
        assert found is not None, f"{self.name} has no section {title}"
        return found[2]

    def rows(self, title: str) -> list[list[str]]:
        """The cells of every table under a heading, heads and rulers aside."""
        return list(_rows(self.section(title)))

    def first_names(self, title: str) -> set[str]:
        """What stands between backticks in the first cells of the tables under a heading."""
        return {name for row in self.rows(title) for name in _CODE.findall(row[0])}


def _rows(text: str) -> Iterator[list[str]]:
    lines = text.splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if line.startswith("|") and not line.startswith("|--") and not following.startswith("|--"):
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


DOCUMENTS = tuple(map(Document, PATHS))


def document(name: str) -> Document:
    return Document(ROOT / name)


def all_examples(*languages: str) -> list[Example]:
    return [example for each in DOCUMENTS for example in each.examples(*languages)]
