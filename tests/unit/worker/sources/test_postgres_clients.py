"""Which client reads which server."""

from pathlib import Path

import pytest

from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import SourceError
from backup_operator.worker.sources.postgres_clients import Client, pick_client

CLIENTS = tuple(Client(major, Path(f"/clients/{major}/bin")) for major in (18, 15, 17))


@pytest.mark.parametrize(
    ("server_number", "major"),
    [(90524, 15), (130020, 15), (150018, 15), (160004, 17), (170012, 17), (180001, 18)],
)
def test_the_oldest_client_that_is_not_older_than_the_server_reads_it(server_number, major):
    assert pick_client(CLIENTS, server_number, "x").major == major


@pytest.mark.parametrize(
    ("server_number", "version", "message", "detail"),
    [
        (190000, "19.0", "The server's version 19.0 is newer than every client in this image.", "18, 15, 17"),
        (90400, "9.4", "The server's version 9.4 is older than this worker can read.", "from 9.5 on"),
    ],
)
def test_a_server_that_no_client_reads_is_refused(server_number, version, message, detail):
    with pytest.raises(SourceError) as caught:
        pick_client(CLIENTS, server_number, version)

    assert (caught.value.reason, caught.value.message) == (Reason.VERSION_MISMATCH, message)
    assert detail in caught.value.detail
