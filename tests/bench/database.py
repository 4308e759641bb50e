"""The database of the benchmarks: about 1 GB of what an application keeps, text above all, the same at every run.

Sentences are drawn from a vocabulary with the frequencies of a natural language, so that gzip -6 makes a fourth to a
third of it, as it does of real dumps; pgbench's own filler would shrink to a thirtieth and flatter everybody.
"""

import random
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import psycopg

ROWS_PER_GB = 1_450_000
_PGBENCH_SCALE_PER_GB = 70
_SEED = 20261123
_VOCABULARY_WORDS = 6_000
_SENTENCES = 40_000
_ROWS_PER_COPY = 10_000
_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)

_SCHEMA = """
DROP TABLE IF EXISTS messages;
CREATE TABLE messages (
    id bigint GENERATED ALWAYS AS IDENTITY,
    conversation uuid NOT NULL,
    author text NOT NULL,
    created_at timestamptz NOT NULL,
    tokens integer NOT NULL,
    score double precision NOT NULL,
    attributes jsonb NOT NULL,
    body text NOT NULL
);
"""


def fill(conninfo: str, *, gigabytes: float) -> int:
    """Make the table `messages` in the database. Returns: the number of its rows."""
    rows = round(ROWS_PER_GB * gigabytes)
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(_SCHEMA)
        with connection.cursor().copy(
            "COPY messages (conversation, author, created_at, tokens, score, attributes, body) FROM STDIN"
        ) as copy:
            for lines in _batches(rows):
                copy.write(lines)
        connection.execute("ALTER TABLE messages ADD PRIMARY KEY (id)")
        connection.execute("VACUUM (ANALYZE) messages")
    return rows


def _batches(rows: int) -> Iterator[str]:
    chance = random.Random(_SEED)
    sentences = _sentences(chance)
    for start in range(0, rows, _ROWS_PER_COPY):
        yield "".join(_row(chance, sentences, number) for number in range(start, min(start + _ROWS_PER_COPY, rows)))


def _row(chance: random.Random, sentences: list[str], number: int) -> str:
    conversation = UUID(int=chance.getrandbits(128), version=4)
    author = f"user{chance.randrange(20_000)}@example.org"
    created_at = _EPOCH + timedelta(seconds=number * 7 + chance.randrange(7))
    trace, model, milliseconds = f"{chance.getrandbits(64):016x}", chance.randrange(9), chance.randrange(9999)
    attributes = f'{{"model": "m-{model}", "trace": "{trace}", "ms": {milliseconds}}}'
    body = " ".join(chance.choices(sentences, k=chance.randrange(2, 10)))
    return (
        f"{conversation}\t{author}\t{created_at}\t{chance.randrange(4096)}\t{chance.random()}\t{attributes}\t{body}\n"
    )


def _sentences(chance: random.Random) -> list[str]:
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    weights = [len(letters) - place for place in range(len(letters))]
    words = ["".join(chance.choices(letters, weights, k=chance.randrange(2, 11))) for _ in range(_VOCABULARY_WORDS)]
    frequencies = [1 / (rank + 3) for rank in range(_VOCABULARY_WORDS)]  # Zipf's law
    return [
        " ".join(chance.choices(words, frequencies, k=chance.randrange(5, 18))).capitalize() + "."
        for _ in range(_SENTENCES)
    ]


def fill_pgbench(conninfo: str, pgbench: Path, *, gigabytes: float) -> None:
    """Drop `messages` and make pgbench's tables of about that size."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS messages")
    scale = max(1, round(_PGBENCH_SCALE_PER_GB * gigabytes))
    subprocess.run(
        [str(pgbench), "--initialize", "--quiet", f"--scale={scale}", conninfo], check=True, capture_output=True
    )
