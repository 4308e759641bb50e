"""The README as tests see it: its fenced blocks with what checks each, and the table of reasons, which is generated.

`python -m tests.support.readme` writes the table anew.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from backup_operator.vocabulary.reasons import MEANING, RESTORE_REASONS

README = Path(__file__).resolve().parents[2] / "README.md"
_BEGIN = "<!-- reasons: written by `python -m tests.support.readme`, begin -->\n"
_END = "<!-- reasons: end -->\n"
_BLOCK = re.compile(
    r"(?:^<!-- check: (?P<check>[^\n]+) -->\n)?^```(?P<language>[a-z]*)\n(?P<text>.*?)^```$", re.M | re.S
)


@dataclass(frozen=True)
class Block:
    """A fenced block; `check` is the comment above it (empty: none), which says how it is shown to be right."""

    check: str
    language: str
    text: str

    @property
    def commands(self) -> list[str]:
        """Its lines, without empty ones and comments."""
        return [line for line in self.text.splitlines() if line and not line.startswith("#")]


def blocks(check: str = "", text: str = "") -> list[Block]:
    """Every block whose check begins with that word, in order; of README.md unless a text is given."""
    found = (
        Block(one["check"] or "", one["language"], one["text"]) for one in _BLOCK.finditer(text or README.read_text())
    )
    return [block for block in found if not check or block.check.split(" ")[0] == check]


def table_of_reasons() -> str:
    """Every reason of a BackupPolicy and its meaning, as Markdown."""
    return "".join(_lines())


def with_table(text: str) -> str:
    """The README with its table as it has to be."""
    head, _, rest = text.partition(_BEGIN)
    _, _, tail = rest.partition(_END)
    return f"{head}{_BEGIN}{table_of_reasons()}{_END}{tail}"


def _lines() -> Iterator[str]:
    yield "| reason | meaning |\n|---|---|\n"
    for reason in (reason for reason in MEANING if reason not in RESTORE_REASONS):
        meaning = MEANING[reason]
        yield f"| `{reason.value}` | {meaning.replace('|', chr(92) + '|')} |\n"


if __name__ == "__main__":
    README.write_text(with_table(README.read_text()))
