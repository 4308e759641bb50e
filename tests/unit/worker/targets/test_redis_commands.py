"""Reading the commands of an append-only file."""

from pathlib import Path

import pytest

from backup_operator.worker.targets import redis_commands
from backup_operator.worker.targets.redis_commands import (
    CommandFile,
    KeySpan,
    library_name,
    mapped_command_file,
    write_for_servers_before_7,
)
from backup_operator.worker.targets.redis_pipeline import encoded

LIBRARY = b"#!lua name=mine\nredis.register_function('f', function() return 1 end)"


def test_function_libraries_stand_before_the_keys():
    head = encoded("FUNCTION", "LOAD", LIBRARY)
    file = CommandFile(head + encoded("SELECT", 0) + encoded("SET", "FUNCTION", "LOAD"))

    assert file.functions() == (LIBRARY,)
    assert file.body == len(head)


def test_a_file_of_functions_alone_has_no_body():
    file = CommandFile(encoded("FUNCTION", "LOAD", LIBRARY))

    assert list(file.pieces(file.body)) == []
    assert list(file.key_spans()) == []


def test_spans_change_where_the_key_changes_and_select_has_none():
    commands = [
        encoded("SELECT", 3),
        encoded("SET", "a", "*3\r\n$3\r\nSET\r\n"),
        encoded("PEXPIREAT", "a", 1),
        encoded("XADD", "s", "1-1", "f", "v"),
        encoded("XGROUP", "CREATE", "s", "g", "0"),
        encoded("SET", "", ""),
    ]
    file = CommandFile(b"".join(commands))
    at = [sum(map(len, commands[:number])) for number in range(len(commands) + 1)]

    assert list(file.key_spans()) == [
        KeySpan(None, at[0], at[1], 1),
        KeySpan(b"a", at[1], at[3], 2),
        KeySpan(b"s", at[3], at[5], 2),
        KeySpan(b"", at[5], at[6], 1),
    ]


def test_a_large_key_is_cut_into_spans_that_go_on(monkeypatch):
    monkeypatch.setattr(redis_commands, "LARGE_KEY_BYTES", 50)
    command = encoded("RPUSH", "k", "v" * 20)
    file = CommandFile(command * 5 + encoded("SET", "z", ""))

    assert [(span.key, span.count, span.goes_on) for span in file.key_spans()] == [
        (b"k", 2, False),
        (b"k", 2, True),
        (b"k", 1, True),
        (b"z", 1, False),
    ]


def test_a_command_is_used_only_where_it_is_a_command():
    value = CommandFile(encoded("SELECT", 0) + encoded("SET", "HPEXPIREAT", "HPEXPIREAT"))
    command = CommandFile(encoded("SELECT", 0) + encoded("HPEXPIREAT", "h", 1, "FIELDS", 1, "f"))

    assert not value.uses("HPEXPIREAT")
    assert command.uses("HPEXPIREAT")


@pytest.mark.parametrize(
    ("newer", "older"),
    [
        (
            ("XSETID", "s", "5-5", "ENTRIESADDED", 7, "MAXDELETEDID", "3-1"),
            ("XSETID", "s", "5-5"),
        ),
        (
            ("XGROUP", "CREATE", "s", "g", "0-0", "ENTRIESREAD", -1),
            ("XGROUP", "CREATE", "s", "g", "0-0"),
        ),
        (("XGROUP", "CREATECONSUMER", "s", "g", "c"), ("XGROUP", "CREATECONSUMER", "s", "g", "c")),
        (("RPUSH", "XSETID", "a", "b", "c", "d", "e"), ("RPUSH", "XSETID", "a", "b", "c", "d", "e")),
    ],
)
def test_what_redis_7_added_is_left_out_for_older_servers(tmp_path: Path, newer, older):
    write_for_servers_before_7(CommandFile(encoded("SELECT", 0) + encoded(*newer)), tmp_path / "older")

    assert (tmp_path / "older").read_bytes() == encoded("SELECT", 0) + encoded(*older)


def test_an_empty_file_is_mapped_too(tmp_path: Path):
    (tmp_path / "empty").write_bytes(b"")

    with mapped_command_file(tmp_path / "empty") as file:
        assert (len(file), file.functions(), list(file.commands(0))) == (0, (), [])


@pytest.mark.parametrize(
    ("code", "name"), [(LIBRARY, "mine"), (b"#!lua  name=a\nname=b", "a"), (b"return 1", ""), (b"", "")]
)
def test_a_library_is_named_in_its_first_line(code, name):
    assert library_name(code) == name
