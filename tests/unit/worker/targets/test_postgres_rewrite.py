"""Which statements of a dump are sent, left out or refused."""

import pytest

from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import TargetError
from backup_operator.worker.targets.postgres_contents import read_contents
from backup_operator.worker.targets.postgres_globals import role_statements
from backup_operator.worker.targets.postgres_inventory import keys_of
from backup_operator.worker.targets.postgres_names import with_suffix
from backup_operator.worker.targets.postgres_rewrite import Rewriter
from backup_operator.worker.targets.postgres_roles import roles_of

ROLES = [
    (b"ALTER TABLE public.users OWNER TO app;", {"app"}, set()),
    (b'ALTER FUNCTION public."a OWNER TO b;"(integer) OWNER TO "Big ""App""";', {'Big "App"'}, set()),
    (b"GRANT SELECT,INSERT ON TABLE public.users TO reader;", set(), {"reader"}),
    (b'GRANT ALL ON TABLE public."x TO y" TO reader WITH GRANT OPTION;', set(), {"reader"}),
    (b"REVOKE ALL ON SCHEMA public FROM PUBLIC;", set(), set()),
    (b"REVOKE ALL ON TABLE t FROM app;", set(), {"app"}),
    (
        b"ALTER DEFAULT PRIVILEGES FOR ROLE app IN SCHEMA public GRANT SELECT ON TABLES TO reader;",
        {"app"},
        {"reader"},
    ),
    (b'CREATE POLICY p ON public.t AS RESTRICTIVE FOR SELECT TO a, "B" USING (true);', set(), {"a", "B"}),
    (b"CREATE POLICY p ON public.t USING ((x = ' TO a'::text));", set(), set()),
    (b"CREATE USER MAPPING FOR app SERVER s;", set(), {"app"}),
    (b"SET SESSION AUTHORIZATION 'it''s';", {"it's"}, set()),
    (b"CREATE TABLE public.t (a text DEFAULT ' OWNER TO x');", set(), set()),
]


@pytest.mark.parametrize(("statement", "owners", "grantees"), ROLES, ids=[row[0].decode()[:40] for row in ROLES])
def test_the_roles_of_a_statement_are_read(statement, owners, grantees):
    found = roles_of(statement)

    assert (set(found.owners), set(found.grantees)) == (owners, grantees)


@pytest.mark.parametrize(
    ("statement", "sent"),
    [
        (b"ALTER TABLE t OWNER TO gone;", None),
        (b"ALTER TABLE t OWNER TO foreign_one;", None),
        (b"GRANT SELECT ON TABLE t TO foreign_one;", b"GRANT SELECT ON TABLE t TO foreign_one;"),
        (b"GRANT SELECT ON TABLE t TO gone;", None),
        (b"CREATE POLICY p ON t TO gone USING (true);", None),
        (b"CREATE POLICY p ON t TO gone, here USING (true);", b"CREATE POLICY p ON t TO here USING (true);"),
        (b"SET transaction_timeout = 0;", None),
        (b"SET lock_timeout = 0;", None),
        (b"SET unheard_of = 0;", b"SET unheard_of = 0;"),
        (b"BEGIN;", None),
        (b"COMMIT;", None),
    ],
)
def test_statements_are_left_out_by_role_setting_and_transaction(statement, sent):
    rewriter = Rewriter(150000, frozenset({"gone"}), frozenset({"foreign_one"}), in_one_transaction=True)

    assert rewriter.rewrite(statement) == sent


def test_what_is_granted_in_the_name_of_a_missing_role_is_left_out_up_to_its_end():
    rewriter = Rewriter(170000, frozenset({"gone"}))
    statements = [
        b"SET SESSION AUTHORIZATION gone;",
        b"GRANT SELECT ON TABLE t TO here;",
        b"RESET SESSION AUTHORIZATION;",
        b"GRANT SELECT ON TABLE t TO here;",
    ]

    assert [rewriter.rewrite(each) for each in statements] == [None, None, None, statements[-1]]


@pytest.mark.parametrize(
    "statement",
    [
        b"CREATE DATABASE x;",
        b"DROP DATABASE app;",
        b"ALTER SYSTEM SET work_mem = 1;",
        b"COPY t FROM PROGRAM 'touch /tmp/x';",
        b"COPY t TO '/etc/passwd';",
        b"START TRANSACTION;",
        b"ROLLBACK;",
        b"COMMIT AND CHAIN;",
    ],
)
def test_what_reaches_beyond_the_database_is_refused(statement):
    with pytest.raises(TargetError) as failure:
        Rewriter(170000).rewrite(statement)

    assert failure.value.reason is Reason.RESTORE_FAILED


@pytest.mark.parametrize("line", [b"\\! touch /tmp/x", b"\\connect other", b"\\copy t from x", b"\\restricted"])
def test_no_command_of_psql_is_run(line):
    with pytest.raises(TargetError):
        Rewriter(170000).refuse_command(line)


def test_what_a_dump_makes_is_read_with_its_names_and_signatures():
    contents = read_contents(
        iter(
            [
                b'CREATE TABLE public."Us.ers" (a integer);\nCREATE UNLOGGED TABLE public.u ();\n'
                b"CREATE MATERIALIZED VIEW app.m AS\n SELECT 1;\nCREATE UNIQUE INDEX i ON public.u (a);\n"
                b"CREATE FUNCTION public.f(a integer DEFAULT 1) RETURNS integer AS 'x' LANGUAGE sql;\n"
                b"ALTER FUNCTION public.f(a integer) OWNER TO app;\nCREATE TYPE public.mood AS ENUM ('a');\n"
                b"COPY public.u (a) FROM stdin;\n1\n\\.\n"
            ]
        )
    )

    assert keys_of(contents) == [
        ("SCHEMA", "", "public", ""),
        ("RELATION", "public", "Us.ers", ""),
        ("RELATION", "public", "u", ""),
        ("RELATION", "app", "m", ""),
        ("TYPE", "public", "mood", ""),
        ("FUNCTION", "public", "f", "a integer"),
    ]
    assert contents.tables_with_rows == ["public.u"]


def test_globals_are_fitted_to_the_server_and_the_role():
    text = (
        b"CREATE ROLE a;\nALTER ROLE a WITH NOSUPERUSER LOGIN NOREPLICATION NOBYPASSRLS PASSWORD 'x NOSUPERUSER';\n"
        b"ALTER ROLE a SET work_mem TO '1MB';\nALTER ROLE a IN DATABASE b SET work_mem TO '2MB';\n"
        b"GRANT c TO a WITH ADMIN OPTION, INHERIT TRUE GRANTED BY postgres;\nCREATE TABLESPACE t LOCATION '/x';\n"
    )

    found = [each.text for each in role_statements(iter([text]), 150000, as_superuser=False)]

    assert found == [
        b"CREATE ROLE a;",
        b"ALTER ROLE a WITH LOGIN PASSWORD 'x NOSUPERUSER';",
        b"ALTER ROLE a SET work_mem TO '1MB';",
        b"GRANT c TO a WITH ADMIN OPTION;",
    ]


@pytest.mark.parametrize(("name", "made"), [("app", "app_before_1"), ("é" * 40, "é" * 27 + "_before_1")])
def test_names_are_cut_to_what_the_server_keeps(name, made):
    assert with_suffix(name, "_before_1") == made
