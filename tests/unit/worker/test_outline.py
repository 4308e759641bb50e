"""A plain dump without its rows, kept while it is verified: it reads like the dump itself."""

import pytest

from backup_operator.worker import outline
from backup_operator.worker.outline import Outline
from backup_operator.worker.targets.postgres_statements import CopyRows, parts_of

DUMP = (
    b"\\restrict abc\nSET a = 1;\nCREATE TABLE t (a text);\nCREATE FUNCTION f() AS $$ a; b $$;\n"
    b"COPY public.t (a) FROM stdin;\none\ntwo;\\n\n\\N\n\\.\n\nCOPY public.u (a) FROM stdin;\n\\.\n"
    b"-- a comment; of no use\nSELECT 'it''s; done';\n\\unrestrict abc\n"
)


def outlined(dump, chunk_bytes):
    kept = Outline()
    for start in range(0, len(dump), chunk_bytes):
        kept.update(dump[start : start + chunk_bytes])
    return kept.finish()


@pytest.mark.parametrize("chunk_bytes", [1, 7, 1000])
def test_an_outline_has_the_parts_of_the_dump_but_for_its_rows(chunk_bytes):
    found = outlined(DUMP, chunk_bytes)

    assert found is not None
    expected = [part for part in parts_of(iter((DUMP,))) if not isinstance(part, CopyRows)]
    assert list(parts_of(iter((found,)))) == expected
    assert b"two" not in found


@pytest.mark.parametrize("dump", [DUMP + b"SELECT 'cut", DUMP[:-20] + b"\nCOPY t FROM stdin;\ncut"])
def test_of_a_dump_without_end_there_is_no_outline(dump):
    assert outlined(dump, 100) is None


def test_of_a_dump_with_too_many_statements_there_is_no_outline(monkeypatch):
    monkeypatch.setattr(outline, "LIMIT_BYTES", 1000)
    small, large = DUMP, DUMP + b"SELECT 'x';\n" * 100

    assert outlined(small, 100) is not None
    assert outlined(large, 100) is None
