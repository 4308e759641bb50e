"""A stored file, held open: proven once to its last byte, and again each time that it is used."""

import io
from datetime import timedelta

import pytest

from backup_operator.vocabulary.choices import ArtifactKind, Compression
from backup_operator.worker.errors import VerificationFailed
from backup_operator.worker.keys import Candidate
from backup_operator.worker.opening import StoredArtifact
from backup_operator.worker.progress import Progress
from backup_operator.worker.stages.chain import Recipe, seal

PASSPHRASE = b"correct horse battery staple"
DUMP = b"COPY public.t (a) FROM stdin;\none\n\\.\n\n-- PostgreSQL database dump complete\n"


def sealed(content=DUMP):
    stored = io.BytesIO()
    seal([content], stored, Recipe(Compression.GZIP, 2, PASSPHRASE))
    return stored


def artifact(stored):
    keys = (Candidate(PASSPHRASE, "the key", is_current=True),)
    return StoredArtifact("a.sql.gz.gpg", ArtifactKind.POSTGRES_PLAIN, Compression.GZIP, stored, keys)


def verify(stored, **options):
    opened = artifact(stored)
    opened.verify(Progress("verify", interval=timedelta(hours=1), clock=lambda: 0.0), **options)
    return opened


def used(opened):
    with opened.plaintext() as blocks:
        return b"".join(blocks)


def test_what_was_verified_is_what_is_used():
    opened = verify(sealed())

    assert used(opened) == used(opened) == DUMP


def test_another_file_in_the_place_of_the_verified_one_is_noticed_at_its_end():
    stored, other = sealed(), sealed()
    opened = verify(stored)
    assert len(stored.getbuffer()) == len(other.getbuffer())

    stored.seek(0)
    stored.write(other.getvalue())

    with pytest.raises(VerificationFailed, match="not what was stored"):
        used(opened)


@pytest.mark.parametrize(("wanted", "expected"), [(True, DUMP.splitlines()[0] + b"\n\\.\n"), (False, None)])
def test_the_outline_is_kept_where_it_is_asked_for(wanted, expected):
    assert verify(sealed(), keeps_outline=wanted).outline == expected
