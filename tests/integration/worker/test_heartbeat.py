"""A dead man's switch hears of each good backup, and of no other; whatever it answers, the backup is good."""

import signal
import socket

import pytest

from backup_operator.contract.exits import Exit
from backup_operator.contract.order import SecretFile
from backup_operator.worker.heartbeat import send_heartbeat
from backup_operator.worker.web import status_of
from backup_operator.worker.workplace import Workplace
from tests.integration.worker.conftest import bench_in
from tests.support.http_server import HANG, TRICKLE, http_server
from tests.support.polling import wait_until
from tests.support.ports import free_port

CODE = "7c9e6679-7425-40de-944b"
"""What makes a heartbeat's URL a secret."""
DESCRIBED = "key HEARTBEAT_URL of Secret ns/app"
UNHEARD = "the backup is good, but its heartbeat was not heard: "


@pytest.fixture
def place(tmp_path, server):
    return bench_in(tmp_path, redis={"url": server.url()})


@pytest.fixture
def send(tmp_path):
    """Sends a heartbeat to a URL without waiting between the tries. Returns: warnings, and how long it would wait."""

    def sent(url: str) -> tuple[tuple[str, ...], list[float]]:
        (tmp_path / "heartbeat").write_text(url)
        waited: list[float] = []
        return send_heartbeat(_secret(tmp_path), Workplace(scratch=tmp_path, wait=waited.append)), waited

    return sent


def _secret(directory) -> SecretFile:
    return SecretFile(
        path=str(directory / "heartbeat"), described=DESCRIBED, command="kubectl create secret generic app …"
    )


def ordered(place, url: str) -> dict[str, object]:
    (place.directory / "heartbeat").write_text(url)
    return {"heartbeat": _secret(place.directory).model_dump(), "retention": {"keep_last": 1, "minimum": 1}}


def test_a_good_run_is_heard_once_after_its_entry_and_retention(place):
    with http_server(200) as server:
        code, report, log = place.run(**ordered(place, f"{server.url}/{CODE}?rid=1"))

    assert (code, report.warnings) == (Exit.OK, ())
    assert server.asked == [f"/{CODE}?rid=1"]
    assert server.agents[0].startswith("backup-operator/")
    assert report.retention is not None
    assert CODE not in log


def test_a_failed_run_is_not_heard(place):
    (place.directory / "url").write_text(f"redis://127.0.0.1:{free_port()}")
    with http_server(200) as server:
        code, report, _ = place.run(**ordered(place, f"{server.url}/{CODE}"))

    assert code == Exit.RETRYABLE
    assert report.fault is not None
    assert server.asked == []


def test_a_run_whose_heartbeat_nobody_hears_is_good_and_says_so_without_the_url(place):
    port = free_port()
    code, report, log = place.run(**ordered(place, f"http://127.0.0.1:{port}/{CODE}"))

    assert code == Exit.OK
    assert report.backup is not None
    assert report.warnings == (f"{UNHEARD}{DESCRIBED}: connection refused, 3 times",)
    assert "connection refused" in log
    assert CODE not in log + report.model_dump_json()
    assert f"127.0.0.1:{port}" not in log + report.model_dump_json()


def test_a_secret_that_is_missing_is_a_warning_with_the_command(place):
    heartbeat = {**_secret(place.directory).model_dump(), "path": str(place.directory / "nothing")}

    code, report, _ = place.run(heartbeat=heartbeat)

    assert code == Exit.OK
    assert report.warnings == (f"{UNHEARD}{DESCRIBED} is missing. kubectl create secret generic app …",)


@pytest.mark.parametrize(
    ("answers", "times", "warned"),
    [
        ((200,), 1, ""),
        ((204,), 1, ""),
        ((500, 200), 2, ""),
        ((429, 503, 200), 3, ""),
        ((500,), 3, "status 500, 3 times"),
        ((404,), 1, "status 404"),
        (("/moved", 200), 2, ""),
        (("/round",), 6, "status 302"),
        (("http://localhost:1/",), 1, "status 302"),
    ],
    ids=["200", "204", "500, then 200", "later", "500", "404", "moved", "round and round", "to another host"],
)
def test_what_the_other_side_answers(send, answers, times, warned):
    with http_server(*answers) as server:
        warnings, waited = send(f"{server.url}/{CODE}\n")

    assert warnings == ((f"{UNHEARD}{DESCRIBED}: {warned}",) if warned else ())
    assert len(server.asked) == times
    assert len(waited) == (2 if times == 3 else int(answers == (500, 200)))


@pytest.mark.parametrize("behaviour", [HANG, TRICKLE], ids=["says nothing", "says a byte now and then"])
def test_a_server_that_never_ends_its_answer_is_left(behaviour):
    with http_server(behaviour) as server, pytest.raises(TimeoutError):
        status_of(server.url, wanted=(200,), silence_seconds=0.4)


def test_a_server_that_hangs_does_not_hold_the_run_for_long(send):
    with http_server(HANG, HANG, 200) as server:
        warnings, _ = send(server.url)

    assert warnings == ()
    assert len(server.asked) == 3


def test_a_pod_that_is_stopped_while_nobody_answers_has_made_a_good_backup(place):
    with http_server(HANG) as server, place.start(**ordered(place, server.url)) as process:
        wait_until(lambda: server.asked, bool, for_what="a heartbeat")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=300)

    report = place.report()
    assert process.returncode == Exit.OK
    assert report.backup is not None
    assert report.warnings[0].startswith(f"{UNHEARD}the run was stopped before it ended")


@pytest.mark.parametrize(
    "url",
    [
        f"ftp://ping/{CODE}",
        f"https://user:{CODE}@ping/",
        f"http://ping:{CODE}/",
        f"http://[{CODE}/",
        f"http://ping/{CODE} with spaces",
        f"http://ping\u2100/{CODE}",
        f"http://127.0.0.1:9/{CODE}/\u00e4",
        CODE,
    ],
)
def test_what_is_no_url_is_told_without_repeating_it(send, monkeypatch, url):
    monkeypatch.setattr(socket, "getaddrinfo", _knows_nobody)

    (warning,), _ = send(url)

    assert warning.startswith(f"{UNHEARD}{DESCRIBED}: ")
    assert CODE not in warning
    assert "ping" not in warning


def _knows_nobody(*_args, **_options):
    raise socket.gaierror("no such host")


def test_quotes_around_the_url_are_taken_off_and_said(send):
    with http_server(200) as server:
        (warning,), _ = send(f'"{server.url}/"\n')

    assert server.asked == ["/"]
    assert "is enclosed in quotes" in warning
