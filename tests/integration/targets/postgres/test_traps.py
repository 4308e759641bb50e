"""What went wrong with the old scripts' restores: each trap, and that it does not snap."""

import pytest

from backup_operator.worker.errors import DumpIncomplete, TargetError, WorkerError
from tests.integration.targets.postgres.conftest import CUSTOM, PLAIN, Side, artifact, assert_equal

STRATEGIES = pytest.mark.parametrize("strategy", ["NewDatabase", "SwapDatabase", "InPlace"])
MANY = """
create table kept (id int primary key, body text);
insert into kept select i, 'row ' || i from generate_series(1, 5000) i;
"""
PROGRAMS = [
    "\\! touch {0}",
    "\\o | touch {0}",
    "\\g | touch {0}",
    "\\i {0}",
    "\\copy kept from program 'touch {0}'",
    "\\copy kept to program 'touch {0}'",
    "\\w | touch {0}",
    "\\setenv PAGER 'touch {0}'",
    "select 1 \\g | touch {0}",
    "select 'touch {0}' \\gexec",
    "copy kept from program 'touch {0}';",
    "copy kept to program 'touch {0}';",
    "COPY kept\nFROM PROGRAM 'touch {0}';",
    "copy (select 1) to '{0}';",
]


@pytest.fixture
def source(server15, name) -> Side:
    server15.create_database(name)
    server15.execute(MANY, name)
    return Side(server15, name)


def text_of(dump) -> bytes:
    with dump.open() as chunks:
        return b"".join(chunks)


def order(source: Side, strategy: str) -> dict[str, str]:
    made = f"{source.database}_new" if strategy == "NewDatabase" else source.database
    return {"strategy": strategy, "database": made}


def names(source: Side) -> set[str]:
    return {
        row[0] for row in source.server.rows(f"select datname from pg_database where datname ~ '^{source.database}'")
    }


@STRATEGIES
def test_a_dump_cut_at_the_end_of_a_copy_line_leaves_the_target_as_it_was(source, restorer, strategy):
    dump, before = source.dump(PLAIN), source.compared().contents()
    text = text_of(dump)
    cut = artifact(PLAIN, text[: text.index(b"\n4000\t") + 1])
    target = restorer.target(source.server.url(source.database), confirm=source.database, **order(source, strategy))

    with pytest.raises(DumpIncomplete, match="its proper end"):
        target.survey([cut])
    target.survey([dump])
    with pytest.raises(DumpIncomplete, match="its proper end") as failure:
        target.apply([cut], lambda _: None)

    assert "as it was" in failure.value.message or "nothing else was touched" in failure.value.message
    assert names(source) == {source.database}
    assert source.compared().contents() == before


@STRATEGIES
@pytest.mark.parametrize("kind", [PLAIN, CUSTOM])
def test_the_first_error_stops_it(source, restorer, strategy, kind):
    source.server.execute("create table other (id int)", source.database)
    dump = source.dump(kind)
    text = text_of(dump)
    wrong = artifact(kind, text.replace(b"4000\trow 4000", b"4ooo\trow 4000"), rows_per_table=None)
    before = source.compared().contents()

    with pytest.raises(TargetError) as failure:
        restorer.restore(
            source.server.url(source.database), [wrong], confirm=source.database, **order(source, strategy)
        )

    assert "invalid input syntax for type integer" in failure.value.message
    assert names(source) == {source.database}
    assert source.compared().contents() == before


@STRATEGIES
@pytest.mark.parametrize("line", PROGRAMS)
def test_no_line_of_a_dump_runs_a_program_or_reads_a_file(source, restorer, strategy, line, public_place):
    witness = public_place / "witness"
    head, mark, rest = text_of(source.dump(PLAIN)).partition(b"COPY public.kept")
    dump = artifact(PLAIN, head + line.format(witness).encode() + b"\n" + mark + rest)
    before = source.compared().contents()

    with pytest.raises(WorkerError):
        restorer.restore(source.server.url(source.database), [dump], confirm=source.database, **order(source, strategy))

    assert not witness.exists()
    assert names(source) == {source.database}
    assert source.compared().contents() == before


@pytest.mark.parametrize("kind", [PLAIN, CUSTOM])
def test_a_dump_of_the_newest_major_restores_into_an_older_server(servers, restorer, everything, name, kind):
    newest, older = servers(18), servers(15)
    source = everything(newest)
    older.execute(f"create role {name}_owner; create role {name}_reader; select 1")

    done = restorer.restore(older.url("postgres"), [source.dump(kind)], database=f"{name}_new")

    assert Side(older, f"{name}_new").compared().contents() == source.compared().contents()
    assert any("transaction_timeout" in note for note in done.applied.notes)


@pytest.mark.parametrize("kind", [PLAIN, CUSTOM])
def test_everything_comes_back_on_the_newest_major(servers, restorer, everything, name, kind):
    source = everything(servers(18))

    restorer.restore(source.server.url("postgres"), [source.dump(kind)], database=f"{name}_new")

    assert_equal(source, Side(source.server, f"{name}_new"))
