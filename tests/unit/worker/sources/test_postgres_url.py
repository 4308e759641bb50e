"""What a PostgreSQL URL is read as, and what is said about one that cannot be read."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict

from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import SourceError
from backup_operator.worker.sources.postgres_url import PostgresUrl, parse_url

WHERE = "key DB_URL of Secret prod/app"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            "postgresql://ann:secret@db.example:6000/app",
            PostgresUrl(hosts=(("db.example", 6000),), user="ann", password="secret", database="app"),
            id="all parts",
        ),
        pytest.param(
            "postgres://ann:p%40%2F%3A%25s@db/app",
            PostgresUrl(hosts=(("db", 5432),), user="ann", password="p@/:%s", database="app"),
            id="percent-encoded password",
        ),
        pytest.param(
            "postgres://ann:a:b?c#d&e=[f]@db/app",
            PostgresUrl(hosts=(("db", 5432),), user="ann", password="a:b?c#d&e=[f]", database="app"),
            id="raw characters that libpq takes too",
        ),
        pytest.param(
            "postgres://ann:s@[2001:db8::1]:7000/app",
            PostgresUrl(hosts=(("2001:db8::1", 7000),), user="ann", password="s", database="app"),
            id="IPv6 host with port",
        ),
        pytest.param(
            "postgres://ann:s@[::1]/app",
            PostgresUrl(hosts=(("::1", 5432),), user="ann", password="s", database="app"),
            id="IPv6 host",
        ),
        pytest.param(
            "postgres://ann:s@one:1,two,three:3/app",
            PostgresUrl(hosts=(("one", 1), ("two", 5432), ("three", 3)), user="ann", password="s", database="app"),
            id="several hosts",
        ),
        pytest.param(
            "postgres://ann@db",
            PostgresUrl(hosts=(("db", 5432),), user="ann", database="ann"),
            id="the database is named like the user when missing",
        ),
        pytest.param(
            "postgres://ann:s@db?sslmode=require",
            PostgresUrl(
                hosts=(("db", 5432),), user="ann", password="s", database="ann", options={"sslmode": "require"}
            ),
            id="options without a path",
        ),
        pytest.param(
            "postgres://ann:s@db/app?sslmode=verify-full&options=-c%20geqo%3Doff&connect_timeout=5",
            PostgresUrl(
                hosts=(("db", 5432),),
                user="ann",
                password="s",
                database="app",
                options={"sslmode": "verify-full", "options": "-c geqo=off", "connect_timeout": "5"},
            ),
            id="options",
        ),
        pytest.param(
            "postgres:///app?host=db&port=7&user=ann&password=s%40",
            PostgresUrl(hosts=(("db", 7),), user="ann", password="s@", database="app"),
            id="parts as options",
        ),
        pytest.param(
            "postgres://ann:s@db/%C3%BC%20x",
            PostgresUrl(hosts=(("db", 5432),), user="ann", password="s", database="ü x"),
            id="unicode database",
        ),
        pytest.param(
            "postgres://ann:s@db/app?ssl=true",
            PostgresUrl(
                hosts=(("db", 5432),), user="ann", password="s", database="app", options={"sslmode": "require"}
            ),
            id="ssl=true is sslmode=require",
        ),
        pytest.param(
            "postgres://ann:s@db/app?gssencmode=prefer&application_name=x",
            PostgresUrl(
                hosts=(("db", 5432),), user="ann", password="s", database="app", options={"application_name": "x"}
            ),
            id="what we set ourselves is left out",
        ),
    ],
)
def test_parse_url_reads_what_libpq_reads(text, expected):
    assert parse_url(text, WHERE) == expected


def test_parse_url_leaves_out_options_of_other_drivers_and_says_so():
    url = parse_url("postgres://ann:s@db/app?pgbouncer=true&schema=public", WHERE)

    assert url.options == {}
    assert url.warnings == (
        f"{WHERE} has the option pgbouncer, which PostgreSQL does not know; left out.",
        f"{WHERE} has the option schema, which PostgreSQL does not know; left out.",
    )


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        pytest.param("postgres://ann:hush@hush@db/app", "holds @ as it is", "%40", id="raw @"),
        pytest.param("postgres://ann:hush/hush@db/app", "holds / as it is", "%2F", id="raw slash"),
        pytest.param("postgres://ann:hu@sh/hush@db/app", "holds @ as it is", "%40", id="raw @ and slash"),
        pytest.param("postgres://ann:hush%@db/app", "holds % as it is", "%25", id="raw percent"),
        pytest.param("postgres://ann:hush hush@db/app", "holds a space", "%20", id="raw space"),
        pytest.param("postgres://ann:hush%0A@db/app", "holds a line break", "", id="encoded line break"),
        pytest.param("postgres://ann:hush\nhush@db/app", "holds a line break", "", id="line break"),
        pytest.param("postgres://ann:hush%ff@db/app", "not UTF-8", "", id="no UTF-8"),
        pytest.param("postgresql+asyncpg://ann:hush@db/app", "only one driver knows", "postgresql://", id="asyncpg"),
        pytest.param("jdbc:postgresql://db/app?user=hush", "only one driver knows", "postgresql://", id="jdbc"),
        pytest.param("mysql://ann:hush@db/app", "does not start with postgresql://", "", id="mysql"),
        pytest.param("host=db password=hush", "does not start with postgresql://", "", id="key and value"),
        pytest.param("postgres://db/app", "names no user", "USER", id="no user"),
        pytest.param("postgres://ann:hush@/app", "names no host", "HOST", id="no host"),
        pytest.param("postgres://ann:hush@db:port/app", "a port that is not a number", "", id="port in words"),
        pytest.param("postgres://ann:hush@db:70000/app", "a port that is not a number", "", id="port too high"),
        pytest.param(
            "postgres://ann:hush@db/app?port=1,2", "names 1 hosts and 2 ports", "one port", id="ports too many"
        ),
        pytest.param("postgres://ann:hush@::1/app", "IPv6 address without brackets", "[::1]", id="IPv6 bare"),
        pytest.param(
            "postgres://ann:hush@db/app?sslmod=require", "option 'sslmod'", "Take it out", id="unknown option"
        ),
        pytest.param(
            "postgres://ann:hush@db/app?passfile=/etc/hush", "option 'passfile'", "", id="option not for here"
        ),
        pytest.param("postgres://ann:hush@db/app?sslmode=hush", "the option sslmode a value", "verify-full", id="mode"),
        pytest.param("postgres://ann:hush@db/app?sslmode=", "the option sslmode a value", "verify-full", id="no mode"),
        pytest.param(
            "postgres://ann:hush@db/app?connect_timeout=5s", "option connect_timeout a", "a whole number", id="timeout"
        ),
        pytest.param("postgres://ann:hush@db/app?sslmode", "sslmode without a value", "?sslmode=", id="no value"),
    ],
)
def test_parse_url_says_in_words_what_is_wrong_and_never_the_password(text, said, hint):
    with pytest.raises(SourceError) as caught:
        parse_url(text, WHERE)

    error = caught.value
    assert error.reason is Reason.URL_INVALID
    assert WHERE in error.message
    assert said in error.message
    assert hint in error.hint
    assert "hush" not in f"{error.message} {error.detail} {error.hint}"


_text = st.text(st.characters(exclude_characters="\0\r\n", codec="utf-8"), min_size=1, max_size=20)


@given(user=_text, password=_text, database=_text)
def test_parse_url_agrees_with_libpq_about_every_encoded_login(user, password, database):
    text = f"postgresql://{quote(user, safe='')}:{quote(password, safe='')}@db:7000/{quote(database, safe='')}"

    url = parse_url(text, WHERE)

    libpq = conninfo_to_dict(text)
    assert (url.user, url.password, url.database) == (libpq["user"], libpq["password"], libpq["dbname"])
    assert (url.user, url.password, url.database) == (user, password, database)


@given(password=st.text(st.sampled_from("ab:?#&=[]!$~;,+*'\"\\|"), min_size=1, max_size=12))
def test_parse_url_agrees_with_libpq_about_raw_characters(password):
    text = f"postgresql://ann:{password}@db:7000/app"

    assert parse_url(text, WHERE).password == conninfo_to_dict(text)["password"] == password


def test_a_url_shows_no_password_when_printed():
    assert "hush" not in repr(parse_url("postgres://ann:hush@db/app", WHERE))
