"""Room `worker.sources`: PostgreSQL's names, quoted and unquoted; called by `sources.postgres*`.

Source: https://www.postgresql.org/docs/current/app-psql.html#APP-PSQL-PATTERNS
"""

import re
from dataclasses import dataclass

_PLAIN_NAME = re.compile(r"[a-z_][a-z0-9_]*\Z")
_PART = r'(?:"(?:[^"]|"")+"|[^".]+)'
_WRITTEN = re.compile(rf"(?:({_PART})\.)?({_PART})", re.DOTALL)


@dataclass(frozen=True)
class WrittenName:
    """A table's name as a person wrote it; no schema means any."""

    schema: str | None
    table: str


def read_name(text: str) -> WrittenName | None:
    """`table` or `schema.table`, parts with capitals or dots in double quotes as in SQL; None when it is no name."""
    found = _WRITTEN.fullmatch(text.strip())
    return WrittenName(_part(found[1]) if found[1] else None, _part(found[2])) if found else None


def quote_name(name: str) -> str:
    """The name in double quotes where SQL needs them."""
    return name if _PLAIN_NAME.match(name) else '"' + name.replace('"', '""') + '"'


def quote_qualified(schema: str, table: str) -> str:
    """`schema.table`, each quoted where SQL needs it."""
    return f"{quote_name(schema)}.{quote_name(table)}"


def exact_pattern(*parts: str) -> str:
    """A pattern for pg_dump's --table or --schema that matches just this name.

    Within double quotes case is kept and `.`, `*`, `?`, brackets and the like stand for themselves.
    """
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)


def _part(written: str) -> str:
    if written.startswith('"'):
        return written[1:-1].replace('""', '"')
    return written.lower()
