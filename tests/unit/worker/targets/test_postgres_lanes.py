"""What is dealt out to several sessions: rows in whole lines, and statements that need no other."""

import pytest

from backup_operator.worker.targets.postgres_feed import is_build
from backup_operator.worker.targets.postgres_lanes import dealt

MIB = 1 << 20


@pytest.mark.parametrize("piece_bytes", [1, 777, 64 << 10, MIB, 5 * MIB])
def test_blocks_end_with_lines_and_hold_every_byte_in_order(piece_bytes):
    line = b"1\ta\\nb\t\\N\n"
    size = 3 * MIB if piece_bytes > 1 else 4096
    rows = line * (size // len(line))
    pieces = [rows[start : start + piece_bytes] for start in range(0, len(rows), piece_bytes)]

    blocks = [b"".join(block) for block in dealt(iter(pieces))]

    assert b"".join(blocks) == rows
    assert all(block.endswith(b"\n") for block in blocks)
    assert len(blocks) > 1 or piece_bytes >= size or size < MIB


def test_a_line_longer_than_a_block_stays_whole():
    long_line = b"x" * (3 * MIB) + b"\n"

    dealt_out = dealt(iter([b"a\n", long_line[:MIB], long_line[MIB:], b"b\n"]))

    assert [b"".join(block) for block in dealt_out] == [b"a\n" + long_line, b"b\n"]


def test_no_rows_are_no_blocks():
    assert list(dealt(iter([]))) == []


@pytest.mark.parametrize(
    "statement",
    [
        b"CREATE INDEX i ON public.t USING btree (a);",
        b"CREATE UNIQUE INDEX i ON public.t USING btree (a);",
        b"ALTER TABLE ONLY public.t\n    ADD CONSTRAINT t_pkey PRIMARY KEY (id);",
        b'ALTER TABLE ONLY public."T ; x"\n    ADD CONSTRAINT "a ""b"" c" UNIQUE (id);',
        b"ALTER TABLE public.t\n    ADD CONSTRAINT u UNIQUE NULLS NOT DISTINCT (id);",
    ],
)
def test_indexes_and_keys_are_built_beside_one_another(statement):
    assert is_build(statement)


@pytest.mark.parametrize(
    "statement",
    [
        b'ALTER TABLE ONLY public.t\n    ADD CONSTRAINT "is UNIQUE " FOREIGN KEY (a) REFERENCES public.u(id);',
        b"ALTER TABLE ONLY public.t\n    ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES public.u(id);",
        b"ALTER TABLE ONLY public.t\n    ADD CONSTRAINT c CHECK ((a <> ' UNIQUE '::text));",
        b"ALTER TABLE ONLY public.t REPLICA IDENTITY USING INDEX i;",
        b"ALTER INDEX public.i ATTACH PARTITION public.j;",
        b"CREATE TRIGGER t BEFORE INSERT ON public.t FOR EACH ROW EXECUTE FUNCTION public.f();",
    ],
)
def test_everything_else_waits_for_what_is_before_it(statement):
    assert not is_build(statement)
