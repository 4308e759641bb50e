"""Names as people write them, and the patterns that pg_dump gets."""

import pytest

from backup_operator.worker.sources.postgres_names import (
    WrittenName,
    exact_pattern,
    quote_name,
    quote_qualified,
    read_name,
)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        pytest.param("users", WrittenName(None, "users"), id="table"),
        pytest.param("app.users", WrittenName("app", "users"), id="schema and table"),
        pytest.param("App.Users", WrittenName("app", "users"), id="without quotes case is folded as in SQL"),
        pytest.param('"Users"', WrittenName(None, "Users"), id="quotes keep case"),
        pytest.param('app."a.b"', WrittenName("app", "a.b"), id="a dot inside quotes"),
        pytest.param('"a""b"."c"', WrittenName('a"b', "c"), id="a doubled quote"),
        pytest.param('"a\nb"', WrittenName(None, "a\nb"), id="a newline"),
        pytest.param("a*", WrittenName(None, "a*"), id="a star is a star"),
        pytest.param("a.b.c", None, id="too many parts"),
        pytest.param('"open', None, id="a quote without end"),
        pytest.param("", None, id="nothing"),
    ],
)
def test_read_name_reads_names_as_sql_does(text, name):
    assert read_name(text) == name


@pytest.mark.parametrize(
    ("name", "quoted"),
    [("users", "users"), ("Users", '"Users"'), ("a.b", '"a.b"'), ('a"b', '"a""b"'), ("1a", '"1a"'), ("a\n", '"a\n"')],
)
def test_quote_name_quotes_only_what_needs_it(name, quoted):
    assert quote_name(name) == quoted


def test_exact_pattern_quotes_every_part():
    assert exact_pattern("App", 'a.*?[b]"$') == '"App"."a.*?[b]""$"'


def test_quote_qualified_quotes_each_part_alone():
    assert quote_qualified("App", "users") == '"App".users'
