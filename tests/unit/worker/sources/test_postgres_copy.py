"""The reader of plain dumps: it counts rows, sees the end, and is deceived by nothing inside quotes."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_operator.worker.errors import DumpIncomplete
from backup_operator.worker.sources.postgres_copy import CLUSTER_END, PlainInspector

END = b"--\n-- PostgreSQL database dump complete\n--\n\n"
LOOKALIKES = [
    b"COPY public.fake (a) FROM stdin;\n1\n2\n\\.\n",
    b"\n-- PostgreSQL database dump complete\n",
    b"\\unrestrict abc\n",
    b"\n\\.\n",
    b"--",
    b"/*",
    b"*/",
    b";",
    b"\n",
    b"a",
    b" ",
    b"\\",
    b"$",
    b"$a",
    b"E",
    "ü".encode(),
]


def inspect(text: bytes, *, cuts: tuple[int, ...] = (), end_mark: bytes | None = None) -> dict[str, int]:
    inspector = PlainInspector() if end_mark is None else PlainInspector(end_mark=end_mark)
    places = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    for start, stop in pairwise(places):
        inspector.update(text[start:stop])
    return dict(inspector.finish().rows_per_table or {})


lookalike_text = st.lists(st.sampled_from(LOOKALIKES), max_size=6).map(b"".join)
identifiers = st.one_of(
    st.sampled_from([b"users", b"public", b"a1_"]),
    st.lists(st.sampled_from([*LOOKALIKES, b".", b'""', b"(", b")"]), min_size=1, max_size=4).map(
        lambda parts: b'"' + b"".join(parts) + b'"'
    ),
)


@st.composite
def string_literals(draw):
    inside = draw(lookalike_text)
    form = draw(st.sampled_from(["plain", "escaped", "dollar", "tagged"]))
    if form == "plain":
        return b"'" + inside.replace(b"'", b"''") + draw(st.sampled_from([b"", b"''"])) + b"'"
    if form == "escaped":
        return b" E'" + inside.replace(b"\\", b"\\\\") + draw(st.sampled_from([b"", b"\\'", b"''", b"\\\\"])) + b"'"
    tag = b"$$" if form == "dollar" else b"$_tag1$"
    return tag + inside.replace(b"$", b"") + tag


@st.composite
def statements(draw):
    words = draw(
        st.lists(
            st.one_of(
                st.sampled_from(
                    [b"SELECT", b"type", b"a$b$c", b"x-1", b"a/b", b"$1", b"-", b"\n", b"(", b")", b"COPY"]
                ),
                string_literals(),
                identifiers,
                st.sampled_from([b"-- it's; COPY a FROM stdin;\n", b"/* ' /* ; */ $$ */"]),
            ),
            max_size=6,
        )
    )
    return b"ALTER " + b" ".join(words) + b";\n", None, 0


@st.composite
def copies(draw):
    table = b".".join(draw(st.lists(identifiers, min_size=1, max_size=2)))
    columns = draw(st.lists(identifiers, max_size=3))
    listed = b" (" + b", ".join(columns) + b")" if columns else b" "
    values = st.lists(
        st.sampled_from([b"a", b"\\\\.", b"\\N", b"\\n", b"\t", b"'", b'"', b"$$", b"--", b";", b"COPY x FROM stdin;"]),
        max_size=4,
    )
    rows = draw(st.lists(values.map(b"".join), max_size=5))
    body = b"".join(row + b"\n" for row in rows)
    return b"COPY " + table + listed + b" FROM stdin;\n" + body + b"\\.\n", table.decode(), len(rows)


comments = st.sampled_from([b"--\n-- Name: it's; Type: TABLE\n--\n", b"\n\n", b"/* COPY ' */\n"]).map(
    lambda text: (text, None, 0)
)


@given(
    parts=st.lists(st.one_of(statements(), copies(), comments), max_size=6),
    cuts=st.lists(st.integers(0, 2000), max_size=8).map(tuple),
    restricted=st.booleans(),
)
def test_rows_are_counted_whatever_is_inside_quotes_and_wherever_chunks_end(parts, cuts, restricted):
    text = b"".join(part for part, _, _ in parts) + END
    if restricted:
        text = b"\\restrict k3y\n\n" + text + b"\\unrestrict k3y\n\n"
    expected: dict[str, int] = {}
    for _, table, rows in parts:
        if table is not None:
            expected[table] = expected.get(table, 0) + rows

    assert inspect(text, cuts=cuts) == expected
    assert inspect(text, cuts=tuple(range(len(text)))) == expected


@given(parts=st.lists(st.one_of(statements(), copies(), comments), max_size=3), place=st.integers(0, 10_000))
def test_a_dump_cut_anywhere_is_refused(parts, place):
    text = b"\\restrict k3y\n" + b"".join(part for part, _, _ in parts) + END + b"\\unrestrict k3y\n"

    with pytest.raises(DumpIncomplete):
        inspect(text[: place % len(text)])


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"SELECT 1;\n", id="no end comment"),
        pytest.param(END[:-6], id="end comment without its newline"),
        pytest.param(b"SELECT '" + END + b"';\n", id="end comment inside a string"),
        pytest.param(b"DO $$\n" + END + b"$$;\n", id="end comment inside a function"),
        pytest.param(b"COPY a (b) FROM stdin;\n" + END + b"\\.\n", id="end comment inside rows"),
        pytest.param(b"COPY a (b) FROM stdin;\n1\n" + END, id="rows without end"),
        pytest.param(b"/*\n" + END + b"*/\n", id="end comment inside a comment"),
        pytest.param(b'SELECT "\n' + END + b'";\n', id="end comment inside a name"),
        pytest.param(END + b"SELECT 1;\n", id="a statement behind the end comment"),
        pytest.param(b"\\restrict a\n" + END, id="unrestrict missing"),
        pytest.param(b"\\restrict a\n" + END + b"\\unrestrict b\n", id="unrestrict with another key"),
        pytest.param(b"\\restrict ab\n" + END + b"\\unrestrict a", id="unrestrict cut"),
        pytest.param(b"SELECT 1;\n" + CLUSTER_END + b"\n", id="the end of another kind of dump"),
    ],
)
def test_a_dump_without_its_proper_end_is_refused(text):
    with pytest.raises(DumpIncomplete):
        inspect(text)


def test_globals_end_in_their_own_comment():
    assert inspect(b"CREATE ROLE a;\n" + CLUSTER_END + b"\n", end_mark=CLUSTER_END) == {}


def test_strings_have_escapes_where_the_dump_says_so():
    text = b"SET standard_conforming_strings = off;\nSELECT 'it\\'s; COPY a FROM stdin;\n';\n" + END

    assert inspect(text, cuts=tuple(range(len(text)))) == {}


def test_a_literal_of_a_type_that_ends_in_e_has_no_escapes():
    assert inspect(b"SELECT date'\\';\nCOPY t (a) FROM stdin;\n1\n\\.\n" + END) == {"t": 1}


def test_rows_of_one_table_in_two_places_are_added():
    piece = b"COPY app.t (a) FROM stdin;\n1\n2\n\\.\n"

    assert inspect(piece + piece + END) == {"app.t": 4}


def test_counted_grows_with_the_rows():
    inspector = PlainInspector()
    inspector.update(b"COPY t (a) FROM stdin;\n1\n2\n3\n\\.\n")

    assert inspector.counted == 3


def test_a_cut_says_in_which_table():
    with pytest.raises(DumpIncomplete) as caught:
        inspect(b"COPY app.users (a) FROM stdin;\n1\n2")

    assert caught.value.detail == "It ends in the middle of the rows of app.users."
