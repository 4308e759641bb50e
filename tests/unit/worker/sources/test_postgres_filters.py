"""Which names of an order stand for what in the catalog."""

import pytest

from backup_operator.contract.order import NameFilter, PostgresOrder, SecretFile, TableFilter
from backup_operator.vocabulary.choices import Profile
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import SourceError
from backup_operator.worker.sources.postgres_catalog import Catalog, Relation, Schema
from backup_operator.worker.sources.postgres_filters import Selection, refuse_nothing, select
from backup_operator.worker.sources.supabase import plan_provider

URL = SecretFile(path="/secrets/url", described="key DB_URL of Secret prod/app")


def relation(oid: int, schema: str, name: str, kind: str = "r", partitions: tuple[int, ...] = (), *, readable=True):
    return Relation(oid, schema, name, kind, readable, False, False, False, partitions)


def catalog(*relations: Relation, schemas: tuple[str, ...] = ()) -> Catalog:
    names = sorted({each.schema for each in relations} | set(schemas))
    return Catalog(
        schemas={name: Schema(name, usable=True, other_objects=0, of_extension=False) for name in names},
        relations={each.oid: each for each in relations},
        extensions=(),
    )


CATALOG = catalog(
    relation(1, "public", "users"),
    relation(2, "public", "Users"),
    relation(3, "app", "events", "p", (4, 5)),
    relation(4, "app", "events_2023"),
    relation(5, "app", "events_2024", "p", (6,)),
    relation(6, "app", "events_2024_01"),
    relation(7, "app", "a.b"),
    relation(8, "app", "users"),
    relation(9, "app", "users_id_seq", "S"),
    schemas=("App",),
)


def order(**filters: object) -> PostgresOrder:
    return PostgresOrder.model_validate({"url": URL, **filters})


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        pytest.param(order(), Selection(("App", "app", "public")), id="everything"),
        pytest.param(
            order(schemas=NameFilter(include=("app",))),
            Selection(("app",), excluded_schemas=("App", "public")),
            id="included schemas leave out the others",
        ),
        pytest.param(
            order(schemas=NameFilter(exclude=("app",))),
            Selection(("App", "public"), excluded_schemas=("app",)),
            id="excluded schema",
        ),
        pytest.param(
            order(tables=TableFilter(exclude=("public.users",))),
            Selection(("App", "app", "public"), excluded=(("public", "users"),)),
            id="a table, case as in SQL",
        ),
        pytest.param(
            order(tables=TableFilter(exclude=('"Users"',))),
            Selection(("App", "app", "public"), excluded=(("public", "Users"),)),
            id="a quoted table",
        ),
        pytest.param(
            order(tables=TableFilter(exclude=("users",))),
            Selection(("App", "app", "public"), excluded=(("app", "users"), ("public", "users"))),
            id="a table without schema is meant in every schema",
        ),
        pytest.param(
            order(tables=TableFilter(exclude=("app.events",))),
            Selection(
                ("App", "app", "public"),
                excluded=(
                    ("app", "events"), ("app", "events_2023"), ("app", "events_2024"), ("app", "events_2024_01"),
                ),
            ),
            id="a partitioned table goes with its partitions",
        ),
        pytest.param(
            order(tables=TableFilter(exclude_data=('app."a.b"',))),
            Selection(("App", "app", "public"), excluded_rows=(("app", "a.b"),), oids_without_rows=frozenset({7})),
            id="rows only",
        ),
    ],
)  # fmt: skip
def test_select_turns_names_into_exact_exclusions(asked, expected):
    assert select(asked, CATALOG) == expected


def test_the_options_for_pg_dump_are_exact_patterns():
    selection = Selection(
        schemas=("public",),
        excluded_schemas=("App",),
        excluded=(("public", "a.*"),),
        excluded_rows=(("public", 'b"'),),
    )

    assert selection.options() == [
        '--exclude-schema="App"',
        '--exclude-table="public"."a.*"',
        '--exclude-table-data="public"."b"""',
    ]


@pytest.mark.parametrize(
    ("asked", "message", "detail"),
    [
        pytest.param(
            order(schemas=NameFilter(include=("ap",))),
            "The name 'ap' in spec.source.postgres.schemas.include matches no schema of the database.",
            "Near names are: App, app.",
            id="include",
        ),
        pytest.param(
            order(schemas=NameFilter(exclude=("nothing",))),
            "The name 'nothing' in spec.source.postgres.schemas.exclude matches no schema of the database.",
            "The database has 3 schemas.",
            id="exclude",
        ),
        pytest.param(
            order(tables=TableFilter(exclude=("public.user",))),
            "The name 'public.user' in spec.source.postgres.tables.exclude matches no table of the database.",
            'Near names are: public.users, public."Users", app.users.',
            id="table",
        ),
        pytest.param(
            order(tables=TableFilter(exclude_data=("app.events_*",))),
            "The name 'app.events_*' in spec.source.postgres.tables.excludeData matches no table of the database.",
            "Near names are: app.events, app.events_2024, app.events_2023.",
            id="a star is no wildcard",
        ),
        pytest.param(
            order(tables=TableFilter(exclude=("users_id_seq",))),
            "The name 'users_id_seq' in spec.source.postgres.tables.exclude matches no table of the database.",
            "The database has 8 tables.",
            id="a sequence is no table",
        ),
    ],
)
def test_select_refuses_a_name_that_matches_nothing_and_shows_near_ones(asked, message, detail):
    with pytest.raises(SourceError) as caught:
        select(asked, CATALOG)

    found = caught.value
    assert (found.reason, found.message, found.detail) == (Reason.FILTER_MATCHES_NOTHING, message, detail)


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param(order(schemas=NameFilter(include=("App",))), id="an empty schema"),
        pytest.param(order(schemas=NameFilter(exclude=("app", "public"))), id="all that is left is empty"),
    ],
)
def test_select_refuses_a_selection_of_nothing(asked):
    with pytest.raises(SourceError) as caught:
        refuse_nothing(select(asked, CATALOG), CATALOG)

    assert caught.value.reason is Reason.SOURCE_EMPTY


SUPABASE = catalog(
    relation(1, "auth", "users"),
    relation(2, "auth", "schema_migrations"),
    relation(3, "storage", "objects"),
    relation(4, "storage", "migrations"),
    relation(5, "vault", "secrets", readable=False),
    relation(6, "public", "profiles"),
    relation(7, "storage", "hidden", readable=False),
    schemas=("supabase_functions", "pgsodium_masks", "graphql_public", "my_graphql"),
)


@pytest.mark.parametrize(
    ("profile", "host", "taken"),
    [
        (Profile.AUTO, "db.abcdefgh.supabase.co", True),
        (Profile.AUTO, "aws-0-eu-central-1.pooler.supabase.com", True),
        (Profile.AUTO, "DB.ABC.SUPABASE.CO.", True),
        (Profile.AUTO, "notsupabase.co", False),
        (Profile.AUTO, "supabase.co.example", False),
        (Profile.SUPABASE, "10.0.0.1", True),
        (Profile.GENERIC, "db.abcdefgh.supabase.co", False),
    ],
)
def test_the_supabase_profile_is_taken_by_host_or_by_name(profile, host, taken):
    assert (plan_provider(profile, host, SUPABASE) is not None) is taken


def test_the_supabase_profile_leaves_out_schemas_but_keeps_rows_of_auth_and_storage():
    plan = plan_provider(Profile.SUPABASE, "h", SUPABASE)

    assert plan is not None
    assert plan.schemas == ("auth", "graphql_public", "pgsodium_masks", "storage", "supabase_functions", "vault")
    assert plan.rows_of == (("auth", "users"), ("storage", "objects"))
    assert plan.row_options() == ['--table="auth"."users"', '--table="storage"."objects"']
    assert plan.warnings == ("Rows of storage.hidden are not in the backup: the role may not read them.",)
    assert select(order(), SUPABASE, plan.schemas).schemas == ("my_graphql", "public")
