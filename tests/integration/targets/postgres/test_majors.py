"""Servers of other majors as targets: the oldest that are still met, from newer ones and back to newer ones."""

import pytest

from backup_operator.vocabulary.choices import PostgresStrategy
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import TargetError
from tests.integration.targets.postgres.conftest import CUSTOM, PLAIN, Side

CONTENT = """
create extension hstore;
create type mood as enum ('sad', 'happy');
create table users (id integer primary key, mood mood, tags hstore, profile jsonb, at timestamptz);
insert into users select i, 'sad', 'a=>1', '{"a": 1}', '2023-12-01' from generate_series(1, 500) i;
create table notes (id bigint generated always as identity primary key, author integer references users, body text);
insert into notes (author, body) select i, repeat(e'x\\t\\n', i % 50) from generate_series(1, 500) i;
create index on notes (body);
create view happy as select id from users where mood = 'happy';
create materialized view counted as select count(*) from notes;
create function answer() returns integer language sql as 'select 42';
create table parts (id integer, at date) partition by range (at);
create table parts_2023 partition of parts for values from ('2023-01-01') to ('2024-01-01');
insert into parts select i, '2023-02-02' from generate_series(1, 50) i;
create sequence counter start 42;
select nextval('counter'), lo_from_bytea(4242, 'large');
"""
OLDEST_CLIENT_THAT_READS_ALL = 17


@pytest.mark.parametrize("strategy", PostgresStrategy)
@pytest.mark.parametrize("kind", [PLAIN, CUSTOM])
@pytest.mark.parametrize("majors", [(17, 13), (17, 14), (13, 17)], ids=lambda pair: f"{pair[0]} to {pair[1]}")
def test_a_database_comes_back_on_a_server_of_another_major(servers, restorer, name, majors, kind, strategy):
    one, other = map(servers, majors)
    one.create_database(name)
    one.execute(CONTENT, name)
    dump = Side(one, name).dump(kind, tool=OLDEST_CLIENT_THAT_READS_ALL)
    into, overwritten = f"{name}_into", strategy is not PostgresStrategy.NEW_DATABASE
    if overwritten:
        other.create_database(into)

    done = restorer.restore(
        other.url("postgres"), [dump], strategy=strategy, database=into, confirm=into if overwritten else ""
    )

    assert Side(other, into).compared().contents() == Side(one, name).compared().contents()
    assert done.applied.counts == Side(one, name).rows()
    assert any("transaction_timeout" in note for note in done.applied.notes) == (other.major < 17)


@pytest.mark.parametrize("kind", [PLAIN, CUSTOM])
def test_what_an_older_server_does_not_know_is_named_and_nothing_is_left(servers, restorer, name, kind):
    one, other = servers(17), servers(13)
    one.create_database(name)
    one.execute("create function atomic() returns integer begin atomic; select 1; end", name)
    before = other.rows("select datname from pg_database")

    with pytest.raises(TargetError) as failure:
        restorer.restore(other.url("postgres"), [Side(one, name).dump(kind)], database=name)

    assert failure.value.reason is Reason.RESTORE_FAILED
    assert 'syntax error at or near "BEGIN"' in failure.value.message
    assert "was dropped again; nothing else was touched" in failure.value.message
    assert "CREATE FUNCTION public.atomic()" in failure.value.detail
    assert other.rows("select datname from pg_database") == before
