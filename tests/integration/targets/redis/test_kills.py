"""A worker that is killed leaves nothing running, and a target that the next plan describes."""

import subprocess
import sys

from tests.integration.targets.redis.restoring import backup_of, left_behind
from tests.support.redis_server import wait_until


def servers_in(directory):
    return [name for name in left_behind(directory) if name.startswith("process")]


def test_the_throw_away_server_ends_with_a_worker_that_is_killed(tmp_path, plain):
    (tmp_path / "scratch").mkdir()
    with backup_of(tmp_path, plain.url()).open() as chunks:
        (tmp_path / "rdb").write_bytes(b"".join(chunks))
    script = (
        "import sys; from pathlib import Path; from tests.integration.targets.redis.restoring import artifact;"
        "from backup_operator.worker.targets.redis_throwaway import ThrowAwayServer;"
        "server = ThrowAwayServer('redis-server', Path(sys.argv[2]), highest_database=0);"
        "server.load(artifact(Path(sys.argv[1]).read_bytes())); print('loaded', flush=True); sys.stdin.read()"
    )
    argv = [sys.executable, "-c", script, str(tmp_path / "rdb"), str(tmp_path / "scratch")]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"loaded\n"
        assert len(servers_in(tmp_path)) == 1
        worker.kill()

    wait_until(
        lambda: not any(name.startswith("process") for name in left_behind(tmp_path)),
        "the end of the throw-away server",
    )
