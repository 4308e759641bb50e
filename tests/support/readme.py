"""The README as tests see it: its fenced blocks with what checks each, and the tables of reasons, which are generated.

`python -m tests.support.readme` writes the tables anew.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from backup_operator.vocabulary.reasons import MEANING, RESTORE_REASONS, Reason

README = Path(__file__).resolve().parents[2] / "README.md"
_BEGIN = "<!-- {what}: written by `python -m tests.support.readme`, begin -->\n"
_END = "<!-- {what}: end -->\n"
_TABLES: dict[str, tuple[Reason, ...]] = {
    "reasons": tuple(reason for reason in MEANING if reason not in RESTORE_REASONS),
    "restore reasons": tuple(reason for reason in MEANING if reason in RESTORE_REASONS),
}
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


def with_tables(text: str) -> str:
    """The README with its tables as they have to be: the reasons of a BackupPolicy, and those of restores alone."""
    for what, reasons in _TABLES.items():
        begin, end = _BEGIN.format(what=what), _END.format(what=what)
        head, _, rest = text.partition(begin)
        _, _, tail = rest.partition(end)
        text = f"{head}{begin}{''.join(_lines(reasons))}{end}{tail}"
    return text


def _lines(reasons: Iterable[Reason]) -> Iterator[str]:
    yield "| reason | meaning |\n|---|---|\n"
    for reason in reasons:
        meaning = MEANING[reason]
        yield f"| `{reason.value}` | {meaning.replace('|', chr(92) + '|')} |\n"


if __name__ == "__main__":
    README.write_text(with_tables(README.read_text()))
