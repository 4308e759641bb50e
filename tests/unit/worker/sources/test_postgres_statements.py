"""Taking statements out of a plain dump changes nothing else."""

import re

from hypothesis import given
from hypothesis import strategies as st

from backup_operator.worker.sources.postgres_statements import without_statements
from backup_operator.worker.sources.supabase import supabase_lists

UNWANTED = re.compile("|".join(supabase_lists().unwanted_statements).encode())
KEPT = [
    b"CREATE TABLE public.a (\n    i integer DEFAULT ';'\n);\n",
    b"COPY public.a (i) FROM stdin;\nCREATE EVENT TRIGGER a;\nALTER FOREIGN DATA WRAPPER x OWNER TO y;\n\\.\n",
    b"CREATE FUNCTION f() AS $$\nCREATE EVENT TRIGGER inside;\n$$;\n",
    b"COMMENT ON TABLE public.a IS '\nCOMMENT ON EXTENSION x IS 1;\n';\n",
    b"-- CREATE EVENT TRIGGER in a comment;\n",
    b"ALTER PUBLICATION supabase_realtime ADD TABLE ONLY public.a;\n",
    b"CREATE PUBLICATION mine WITH (publish = 'insert');\n",
    b"ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA public GRANT ALL ON TABLES TO anon;\n",
    b"CREATE EXTENSION IF NOT EXISTS vector WITH SCHEMA extensions;\n",
    b"ALTER TABLE public.a OWNER TO postgres;\n",
    b"CREATE FOREIGN DATA WRAPPER w;\n",
    b"\\restrict abc\n",
    b"\n\n",
]
DROPPED = [
    b"CREATE EVENT TRIGGER t ON ddl_command_end\n         WHEN TAG IN ('a;b')\n   EXECUTE FUNCTION extensions.f();",
    b"ALTER EVENT TRIGGER t OWNER TO supabase_admin;",
    b"COMMENT ON EXTENSION pgcrypto IS 'it''s; a\nlibrary';",
    b"CREATE PUBLICATION supabase_realtime WITH (publish = 'insert, update');",
    b"ALTER PUBLICATION supabase_realtime OWNER TO postgres;",
    b"ALTER FOREIGN DATA WRAPPER wasm_wrapper OWNER TO supabase_admin;",
    b'ALTER DEFAULT PRIVILEGES FOR ROLE "supabase_admin" IN SCHEMA public GRANT ALL ON TABLES TO anon;',
    b"ALTER FUNCTION public.f() OWNER TO supabase_admin;",
    b"CREATE EXTENSION IF NOT EXISTS supabase_vault WITH SCHEMA vault;",
]
kept = st.sampled_from(KEPT).map(lambda text: (text, text))
dropped = st.sampled_from(DROPPED).map(lambda text: (text + b"\n", b"\n"))


@given(parts=st.lists(st.one_of(kept, dropped), max_size=12), size=st.integers(1, 80))
def test_only_unwanted_statements_go_wherever_chunks_end(parts, size):
    text = b"".join(part for part, _ in parts)
    expected = b"".join(left for _, left in parts)

    chunks = [text[start : start + size] for start in range(0, len(text), size)]

    assert b"".join(without_statements(chunks, UNWANTED)) == expected


def test_an_end_in_the_middle_of_a_line_is_kept():
    assert b"".join(without_statements([b"SELECT 1;\nSELECT"], UNWANTED)) == b"SELECT 1;\nSELECT"
