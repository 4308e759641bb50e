"""Recorded texts of libpq, servers, poolers and pg_dump, and the reasons they are turned into."""

import psycopg
import pytest

from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.process import Finished
from backup_operator.worker.sources.postgres_faults import Place, connection_fault, dump_fault

PLACE = Place("db.example", 5432, "app", "ann", "key DB_URL of Secret prod/app")
AT = 'connection failed: connection to server at "10.0.0.7", port 5432 failed: '

CONNECTIONS = [
    (AT + 'FATAL:  password authentication failed for user "ann"', Reason.AUTHENTICATION_FAILED),
    (AT + "fe_sendauth: no password supplied", Reason.AUTHENTICATION_FAILED),
    (AT + 'FATAL:  role "ann" does not exist', Reason.AUTHENTICATION_FAILED),
    (AT + 'FATAL:  role "ann" is not permitted to log in', Reason.AUTHENTICATION_FAILED),
    (AT + "FATAL:  Tenant or user not found", Reason.AUTHENTICATION_FAILED),
    (AT + "FATAL:  SASL authentication failed", Reason.AUTHENTICATION_FAILED),
    (AT + "ERROR:  no such user", Reason.AUTHENTICATION_FAILED),
    (
        AT + 'FATAL:  no pg_hba.conf entry for host "10.0.0.9", user "ann", database "app", SSL encryption\n'
        + AT + 'FATAL:  no pg_hba.conf entry for host "10.0.0.9", user "ann", database "app", no encryption',
        Reason.AUTHENTICATION_FAILED,
    ),
    (
        AT + 'FATAL:  no pg_hba.conf entry for host "10.0.0.9", user "ann", database "app", no encryption',
        Reason.TLS_FAILED,
    ),
    (AT + 'FATAL:  database "app" does not exist', Reason.DATABASE_MISSING),
    (AT + "FATAL:  no such database: app", Reason.DATABASE_MISSING),
    (AT + 'FATAL:  permission denied for database "app"\nDETAIL:  User does not have CONNECT privilege.',
     Reason.PERMISSION_DENIED),
    ("failed to resolve host 'db.example': [Errno -2] Name or service not known", Reason.NAME_NOT_RESOLVED),
    ("failed to resolve host 'db.example': [Errno -3] Temporary failure in name resolution", Reason.NAME_NOT_RESOLVED),
    ('could not translate host name "db.example" to address: Name or service not known', Reason.NAME_NOT_RESOLVED),
    (AT + "Connection refused\n\tIs the server running on that host and accepting TCP/IP connections?",
     Reason.CONNECTION_REFUSED),
    ('connection to server on socket "/run/none/.s.PGSQL.5432" failed: No such file or directory\n\tIs the server '
     "running locally and accepting connections on that socket?", Reason.URL_INVALID),
    (AT + "FATAL:  invalid command-line argument for server process: nonsense", Reason.URL_INVALID),
    (AT + 'FATAL:  unrecognized configuration parameter "no_such_thing"', Reason.URL_INVALID),
    (AT + 'FATAL:  invalid value for parameter "work_mem": "much"', Reason.URL_INVALID),
    (AT + "Network is unreachable\n\tIs the server running on that host and accepting TCP/IP connections?",
     Reason.NETWORK_UNREACHABLE),
    (AT + "No route to host", Reason.NETWORK_UNREACHABLE),
    ("connection timeout expired", Reason.CONNECTION_TIMED_OUT),
    (AT + "timeout expired", Reason.CONNECTION_TIMED_OUT),
    (AT + "Connection timed out", Reason.CONNECTION_TIMED_OUT),
    (AT + "SSL error: certificate verify failed", Reason.TLS_FAILED),
    (AT + 'server certificate for "db.example" does not match host name "10.0.0.7"', Reason.TLS_FAILED),
    (AT + "server does not support SSL, but SSL was required", Reason.TLS_FAILED),
    (AT + 'root certificate file "/tmp/ca.crt" does not exist', Reason.TLS_FAILED),
    (AT + "SSL error: tlsv1 alert unknown ca", Reason.TLS_FAILED),
    (AT + "SSL error: certificate has expired", Reason.TLS_FAILED),
    (AT + "FATAL:  sorry, too many clients already", Reason.TOO_MANY_CONNECTIONS),
    (AT + "FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute",
     Reason.TOO_MANY_CONNECTIONS),
    (AT + 'FATAL:  too many connections for role "ann"', Reason.TOO_MANY_CONNECTIONS),
    (AT + "FATAL:  MaxClientsInSessionMode: max clients reached - in Session mode max clients are limited to pool_size",
     Reason.TOO_MANY_CONNECTIONS),
    (AT + "FATAL:  Max client connections reached", Reason.TOO_MANY_CONNECTIONS),
    (AT + "FATAL:  the database system is starting up", Reason.SERVER_NOT_READY),
    (AT + "FATAL:  the database system is shutting down", Reason.SERVER_NOT_READY),
    (AT + "FATAL:  the database system is not yet accepting connections\nDETAIL:  Consistent recovery state has not",
     Reason.SERVER_NOT_READY),
    (AT + "FATAL:  the database system is in recovery mode", Reason.SERVER_NOT_READY),
    (AT + "server closed the connection unexpectedly\n\tThis probably means the server terminated abnormally",
     Reason.CONNECTION_LOST),
    ("consuming input failed: server closed the connection unexpectedly", Reason.CONNECTION_LOST),
    ("transaction blocks not allowed in statement pooling mode", Reason.POOLER_TRANSACTION_MODE),
    (AT + "FATAL:  Worte in einer anderen Sprache", Reason.CONNECTION_REFUSED),
]  # fmt: skip

LOCKED = """pg_dump: error: query failed: ERROR:  canceling statement due to statement timeout
pg_dump: detail: Query was: LOCK TABLE public.a IN ACCESS SHARE MODE
"""
DUMPS = [
    (LOCKED, Reason.LOCK_TIMEOUT),
    ("pg_dump: error: query failed: ERROR:  canceling statement due to lock timeout\n", Reason.LOCK_TIMEOUT),
    ("pg_dump: error: Dumping the contents of table \"a\" failed: PQgetResult() failed.\n"
     "pg_dump: detail: Error message from server: ERROR:  canceling statement due to statement timeout\n"
     "pg_dump: detail: Command was: COPY public.a (i) TO stdout;\n", Reason.CONNECTION_LOST),
    ("pg_dump: error: Dumping the contents of table \"a\" failed: PQgetCopyData() failed.\n"
     "pg_dump: detail: Error message from server: server closed the connection unexpectedly\n", Reason.CONNECTION_LOST),
    ("pg_dump: error: query failed: FATAL:  terminating connection due to administrator command\n",
     Reason.CONNECTION_LOST),
    ("pg_dump: error: query failed: FATAL:  terminating connection due to idle-in-transaction timeout\n",
     Reason.CONNECTION_LOST),
    ("pg_dump: error: query failed: ERROR:  canceling statement due to conflict with recovery\n",
     Reason.CONNECTION_LOST),
    ("pg_dump: error: query failed: ERROR:  permission denied for table users\n", Reason.PERMISSION_DENIED),
    ("pg_dump: error: query failed: ERROR:  query would be affected by row-level security policy for table \"a\"\n",
     Reason.PERMISSION_DENIED),
    ("pg_dump: error: aborting because of server version mismatch\n"
     "pg_dump: detail: server version: 18.1; pg_dump version: 15.18\n", Reason.VERSION_MISMATCH),
    ('pg_dump: error: connection to server at "::1", port 5432 failed: FATAL:  sorry, too many clients already\n',
     Reason.TOO_MANY_CONNECTIONS),
    ("pg_dump: error: could not write to output file: No space left on device\n", Reason.DUMP_INCOMPLETE),
    ("", Reason.DUMP_INCOMPLETE),
]  # fmt: skip


@pytest.mark.parametrize(("text", "reason"), CONNECTIONS, ids=[text[-60:] for text, _ in CONNECTIONS])
def test_a_refused_connection_has_its_own_reason(text, reason):
    fault = connection_fault(psycopg.OperationalError(text), PLACE)

    assert fault.reason is reason
    assert fault.hint
    assert "{" not in fault.message + fault.hint


@pytest.mark.parametrize(("text", "reason"), DUMPS, ids=[text[-60:] for text, _ in DUMPS])
def test_a_failed_pg_dump_has_its_own_reason(text, reason):
    fault = dump_fault(Finished("pg_dump", 1, text), PLACE)

    assert fault.reason is reason
    assert fault.message


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (psycopg.errors.InsufficientPrivilege("keine Berechtigung für Tabelle a"), Reason.PERMISSION_DENIED),
        (psycopg.errors.AdminShutdown("Verbindung wird abgebrochen"), Reason.CONNECTION_LOST),
        (psycopg.errors.LockNotAvailable("Sperre nicht verfügbar"), Reason.LOCK_TIMEOUT),
        (psycopg.errors.CannotConnectNow("das Datenbanksystem startet"), Reason.SERVER_NOT_READY),
        (psycopg.errors.TooManyConnections("zu viele"), Reason.TOO_MANY_CONNECTIONS),
    ],
    ids=str,
)
def test_a_sqlstate_says_the_reason_in_every_language(error, reason):
    assert connection_fault(error, PLACE).reason is reason


def test_a_denied_table_is_named_in_the_message():
    fault = dump_fault(Finished("pg_dump", 1, "pg_dump: error: ERROR:  permission denied for table users\n"), PLACE)

    assert fault.message == "The role 'ann' may not read something that the backup needs: table users."


@pytest.mark.parametrize("text", ["Network is unreachable", "Name or service not known"])
def test_a_supabase_direct_host_without_a_route_is_sent_to_the_session_pooler(text):
    place = Place("db.abcdefghijklmnop.supabase.co", 5432, "postgres", "postgres", "key DB_URL of Secret prod/app")

    fault = connection_fault(psycopg.OperationalError(text), place)

    assert "IPv6" in fault.hint
    assert "session pooler, port 5432" in fault.hint


def test_a_killed_program_is_named_with_its_signal():
    fault = dump_fault(Finished("pg_dump", -9, ""), PLACE)

    assert (fault.reason, fault.message) == (Reason.DUMP_INCOMPLETE, "pg_dump ended with signal 9.")


def test_the_password_file_that_libpq_names_is_not_told():
    said = (
        'connection failed: FATAL:  password authentication failed for user "ann"\n'
        'password retrieved from file "/tmp/scratch-1/target/pgpass"'
    )

    fault = connection_fault(psycopg.OperationalError(said), PLACE)

    assert fault.reason is Reason.AUTHENTICATION_FAILED
    assert fault.detail == 'connection failed: FATAL:  password authentication failed for user "ann"'
