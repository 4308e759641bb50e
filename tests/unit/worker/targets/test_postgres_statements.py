"""What psql would take for one statement is one, wherever the bytes are cut."""

import pytest

from backup_operator.worker.errors import DumpIncomplete
from backup_operator.worker.targets.postgres_statements import (
    CopyBegin,
    CopyEnd,
    CopyRows,
    Part,
    PsqlCommand,
    Statement,
    StatementReader,
)

DUMP = b"""--
-- PostgreSQL database dump
--

\\restrict abc

SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
CREATE FUNCTION public.f() RETURNS integer
    LANGUAGE sql
    BEGIN ATOMIC
 SELECT CASE WHEN true THEN 1 ELSE 2 END;
 SELECT 'end; begin';
END;
CREATE FUNCTION public.g() RETURNS text
    AS $_$ begin; return $q$ ; $q$; $_$;
CREATE RULE r AS ON INSERT TO public.t DO INSTEAD ( SELECT 1; SELECT 2; );
COMMENT ON TABLE public.t IS 'it''s; COPY public.fake FROM stdin;';
SELECT E'a\\'; b''c\\\\', "odd;""name", 1 /* ; /* ; */ ; */ -- ; '
;
COPY public."t
; x" (a, "FROM stdin;") FROM stdin;
1\tone
2\t\\\\.
\\.


COPY public.empty (a) FROM stdin;
\\.

BEGIN;
COMMIT;
-- PostgreSQL database dump complete
\\unrestrict abc
"""

WANTED: list[Part] = [
    PsqlCommand(b"\\restrict abc"),
    Statement(b"SET standard_conforming_strings = on;"),
    Statement(b"SELECT pg_catalog.set_config('search_path', '', false);"),
    Statement(
        b"CREATE FUNCTION public.f() RETURNS integer\n    LANGUAGE sql\n    BEGIN ATOMIC\n"
        b" SELECT CASE WHEN true THEN 1 ELSE 2 END;\n SELECT 'end; begin';\nEND;"
    ),
    Statement(b"CREATE FUNCTION public.g() RETURNS text\n    AS $_$ begin; return $q$ ; $q$; $_$;"),
    Statement(b"CREATE RULE r AS ON INSERT TO public.t DO INSTEAD ( SELECT 1; SELECT 2; );"),
    Statement(b"COMMENT ON TABLE public.t IS 'it''s; COPY public.fake FROM stdin;';"),
    Statement(b"SELECT E'a\\'; b''c\\\\', \"odd;\"\"name\", 1 /* ; /* ; */ ; */ -- ; '\n;"),
    CopyBegin(b'COPY public."t\n; x" (a, "FROM stdin;") FROM stdin;', b'public."t\n; x"'),
    CopyRows(b"1\tone\n2\t\\\\.\n"),
    CopyEnd(),
    CopyBegin(b"COPY public.empty (a) FROM stdin;", b"public.empty"),
    CopyEnd(),
    Statement(b"BEGIN;"),
    Statement(b"COMMIT;"),
    PsqlCommand(b"\\unrestrict abc"),
]


def read(dump: bytes, size: int) -> list[Part]:
    reader = StatementReader()
    found: list[Part] = []
    for start in range(0, len(dump), size):
        for part in reader.update(dump[start : start + size]):
            if isinstance(part, CopyRows) and found and isinstance(found[-1], CopyRows):
                found[-1] = CopyRows(found[-1].rows + part.rows)
            else:
                found.append(part)
    reader.finish()
    return found


@pytest.mark.parametrize("size", [*range(1, 70), 1000, 1 << 20])
def test_a_dump_is_cut_into_the_same_parts_whatever_the_size_of_its_chunks(size):
    assert read(DUMP, size) == WANTED


def test_strings_hold_escapes_where_the_dump_says_so():
    dump = b"SET standard_conforming_strings = off;\nSELECT 'a\\'; b';\nSELECT 2;\n"

    assert [part.text for part in read(dump, 7) if isinstance(part, Statement)] == [
        b"SET standard_conforming_strings = off;",
        b"SELECT 'a\\'; b';",
        b"SELECT 2;",
    ]


@pytest.mark.parametrize(
    "dump",
    [b"COPY public.t (a) FROM stdin;\n1\n", b"SELECT 'a;\n", b"SELECT 1", b"SELECT $$ ; $", b"SELECT 1 /* ;"],
)
def test_a_dump_that_ends_in_the_middle_is_told(dump):
    with pytest.raises(DumpIncomplete):
        read(dump, 5)
