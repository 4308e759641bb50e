"""Entries: what was written reads back, and nothing else does."""

import json
import string
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_operator.worker.errors import KeyInvalid, VerificationFailed
from backup_operator.worker.store.entry import (
    Entry,
    EntryKeys,
    KeyTally,
    fingerprint_of,
    open_entry,
    salt_of,
    seal_entry,
)
from tests.support.store_content import KEYS, artifact, derive_quickly, entry, keys_of, redis_entry

SALT = bytes(range(16))
Members = dict[str, Any]
NAME = "backup_20231201_020000.json"


def sealed(one: Entry | None = None, keys: EntryKeys = KEYS) -> bytes:
    return seal_entry(one or entry(), keys, SALT)


def edited(content: bytes, edit: Callable[[Members], object]) -> bytes:
    members = json.loads(content)
    edit(members)
    return json.dumps(members).encode()


def resealed(edit: Callable[[Members], object]) -> bytes:
    """What a newer worker with the same passphrase would have written."""
    members = json.loads(sealed())
    del members["authentication"]
    edit(members)
    return seal_entry(_Newer(members), KEYS, SALT)  # type: ignore[arg-type]  # only what seal_entry asks of it


class _Newer:
    def __init__(self, members: Members) -> None:
        self.members = members

    def model_copy(self, update: Members) -> "_Newer":
        return _Newer(self.members | update)

    def model_dump(self, mode: str) -> Members:
        return self.members


@pytest.mark.parametrize(("one", "name"), [(entry(), NAME), (redis_entry(), "redis_20231201_020000.json")])
def test_an_entry_reads_back_as_it_was_written(one, name):
    read = open_entry(sealed(one), KEYS, name)

    fingerprint = fingerprint_of(derive_quickly(b"the right passphrase", SALT))
    assert read == one.model_copy(update={"key_fingerprint": fingerprint})


tables = st.dictionaries(st.text(max_size=20), st.integers(min_value=0, max_value=2**62), max_size=5)


@given(tables, st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3))
def test_table_names_and_facts_of_any_characters_read_back(rows, facts):
    one = entry(artifacts=(artifact(rows_per_table=rows),), server=facts)

    read = open_entry(sealed(one), KEYS, NAME)

    assert (read.artifacts[0].rows_per_table, read.server) == (rows, facts)


def test_a_name_that_is_no_unicode_is_written_with_escapes():
    one = entry(artifacts=(artifact(rows_per_table={"public.gr\udcf6sse": 7}),), server={"roles": ["m\udcfcller"]})

    read = open_entry(sealed(one), KEYS, NAME)

    assert read.artifacts[0].rows_per_table == {"public.gr\\udcf6sse": 7}
    assert read.server == {"roles": ["m\\udcfcller"]}


def test_rows_keys_and_sizes_are_summed_over_the_artifacts():
    counted = artifact("backup_20231201_020000.sql.gz.gpg", rows_per_table={"a": 2, "b": 3})
    uncounted = artifact("globals_20231201_020000.sql.gz.gpg", rows_per_table=None)
    one = entry(artifacts=(counted, uncounted))

    assert (one.rows, one.keys, one.stored_bytes) == (5, None, counted.stored_bytes + uncounted.stored_bytes)
    assert (redis_entry().rows, redis_entry().keys) == (None, 6)


def test_key_counts_are_taken_from_any_object_that_has_them():
    class Counted:
        keys, expiring = 4, 1

    assert artifact(keys_per_database={0: Counted()}).keys_per_database == {0: KeyTally(keys=4, expiring=1)}


FORGERIES = [
    (lambda m: m.update(verified=False), "its content is not what was written", "a flag was turned"),
    (lambda m: m["artifacts"][0].update(stored_bytes=1), "not what was written", "a size was changed"),
    (lambda m: m["artifacts"][0]["rows_per_table"].update(x=1), "not what was written", "a table was added"),
    (lambda m: m.update(later="1"), "not what was written", "a member was added"),
    (lambda m: m.pop("warnings"), "not what was written", "a member was removed"),
    (lambda m: m["authentication"].update(mac="ä" * 64), "not what was written", "the mac is no hexadecimal"),
    (lambda m: m["authentication"].update(mac=None), "not what was written", "the mac is null"),
    (lambda m: m["authentication"].update(algorithm="none"), "does not know: 'none'", "the algorithm was taken off"),
    (lambda m: m["authentication"].update(salt="00"), "does not know", "the salt is short"),
    (lambda m: m["authentication"].update(salt=5), "carries no authentication", "the salt is a number"),
    (lambda m: m.update(authentication=[]), "carries no authentication", "the authentication is a list"),
    (lambda m: m.pop("authentication"), "carries no authentication", "the authentication was removed"),
    (lambda m: m.pop("key_fingerprint"), "carries no authentication", "the fingerprint was removed"),
    (lambda m: m.pop("format_version"), "names no format version", "the format was removed"),
    (lambda m: m.update(format_version=True), "names no format version", "the format is a boolean"),
]


@pytest.mark.parametrize(("edit", "why"), [case[:2] for case in FORGERIES], ids=[case[2] for case in FORGERIES])
def test_an_entry_that_was_changed_is_refused(edit, why):
    with pytest.raises(VerificationFailed) as refused:
        open_entry(edited(sealed(), edit), KEYS, NAME)

    assert (refused.value.message, refused.value.retryable) == (f"the entry {NAME} cannot be trusted", False)
    assert why in refused.value.detail


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"a": 1, "a": 2}', b"[" * 100_000, sealed()[:-20]],
    ids=["empty", "cut", "a list", "null", "no text", "a member twice", "endless nesting", "cut at its end"],
)
def test_what_is_no_entry_is_refused(content):
    with pytest.raises(VerificationFailed, match="cannot be trusted"):
        open_entry(content, KEYS, NAME)


def test_every_changed_byte_that_changes_the_meaning_is_refused():
    content = sealed()
    before = open_entry(content, KEYS, NAME)
    for at in range(0, len(content), 7):
        changed = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
        try:
            after = open_entry(changed, KEYS, NAME)
        except (VerificationFailed, KeyInvalid):
            continue
        assert after == before, at  # white space between two members


def test_an_entry_under_the_name_of_another_run_is_refused():
    with pytest.raises(VerificationFailed) as refused:
        open_entry(sealed(), KEYS, "backup_20231202_020000.json")

    assert refused.value.detail == "it is the entry of backup_20231201_020000 under another name"


def test_another_passphrase_is_told_from_a_forgery():
    with pytest.raises(KeyInvalid) as refused:
        open_entry(sealed(), keys_of(b"another passphrase"), NAME)

    assert refused.value.message == f"the entry {NAME} was written under another passphrase"


def test_an_entry_of_a_previous_passphrase_opens_with_both_given():
    old = sealed(keys=keys_of(b"the previous passphrase"))

    read = open_entry(old, keys_of(b"the new passphrase", b"the previous passphrase"), NAME)

    assert read.run == "backup_20231201_020000"


def test_writing_without_a_passphrase_is_refused():
    with pytest.raises(KeyInvalid):
        sealed(keys=EntryKeys([]))


def test_a_newer_format_is_refused_in_words():
    with pytest.raises(VerificationFailed) as refused:
        open_entry(resealed(lambda members: members.update(format_version=2)), KEYS, NAME)

    assert refused.value.message == f"the entry {NAME} was written by a newer version"
    assert refused.value.detail == "it has format 2, this worker reads up to 1"


def test_members_that_a_newer_worker_added_are_tolerated():
    content = resealed(lambda members: (members.update(novelty={"a": 1}), members["artifacts"][0].update(novelty=2)))

    assert open_entry(content, KEYS, NAME).rows == entry().rows


def test_an_authentic_entry_without_a_needed_member_names_it():
    with pytest.raises(VerificationFailed) as refused:
        open_entry(resealed(lambda members: members.pop("started_at")), KEYS, NAME)

    assert refused.value.detail == "started_at: Field required"


def test_a_key_is_derived_once_per_salt():
    salts = []

    def derive(salt: bytes) -> bytes:
        salts.append(salt)
        return derive_quickly(b"the right passphrase", salt)

    keys = EntryKeys([derive])
    contents = [sealed() for _ in range(50)]

    for content in contents:
        open_entry(content, keys, NAME)

    assert salts == [SALT]


def test_the_salt_is_found_without_any_key():
    assert salt_of(sealed()) == SALT
    assert [salt_of(content) for content in (b"", b"{}", b"[" * 100_000, b'{"authentication": {"salt": "zz"}}')] == [
        None
    ] * 4


def test_no_secret_is_in_an_entry():
    content = sealed()

    assert b"the right passphrase" not in content
    assert derive_quickly(b"the right passphrase", SALT).hex().encode() not in content
    assert set(content) <= set(string.printable.encode())
