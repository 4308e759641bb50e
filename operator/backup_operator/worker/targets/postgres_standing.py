"""Room `worker.targets`: what statements become where their objects are there already; called by `postgres_rewrite`.

InPlace drops what it replaces first. What stays is not made again: schemas, extensions, what belongs to others;
functions that others hang on get their new body where they stand.
"""

import re
from collections import Counter
from dataclasses import dataclass, field

from backup_operator.worker.targets.postgres_contents import standalone_of
from backup_operator.worker.targets.postgres_replace import Replacement

_ROUTINE = re.compile(rb"CREATE (FUNCTION|PROCEDURE|AGGREGATE) ")
_LARGE_OBJECT = re.compile(rb"SELECT pg_catalog\.lo_create\('(\d+)'\);\Z")


@dataclass
class Standing:
    """Judges statements by what stays in the target; counts what was left alone, by object."""

    replacement: Replacement
    codec: str = "utf-8"
    left_alone: Counter[str] = field(default_factory=Counter)

    def rewrite(self, statement: bytes) -> bytes | None:
        """What to send in its place, or None where the object stays as it is."""
        routine = _ROUTINE.match(statement)
        if routine is not None:
            return b"CREATE OR REPLACE " + statement[routine.start(1) :]
        large_object = _LARGE_OBJECT.match(statement)
        if large_object is not None:
            return (
                b"SELECT pg_catalog.lo_unlink(oid) FROM pg_catalog.pg_largeobject_metadata WHERE oid = "
                + large_object[1]
                + b";\n"
                + statement
            )
        return self._about(statement)

    def notes(self) -> tuple[str, ...]:
        """What was left alone though the backup says something of it."""
        if not self.left_alone:
            return ()
        return (f"Left as they are, since they belong to others: {', '.join(sorted(self.left_alone))}.",)

    def _about(self, statement: bytes) -> bytes | None:
        about = standalone_of(statement, self.codec)
        item = next((each for each in self.replacement.left_alone if (each.kind, each.key[2]) == about), None)
        creates = statement.startswith(b"CREATE")
        if item is None or (item.is_ours and not creates):
            return statement
        if not creates:
            self.left_alone[item.described] += 1
        return None
