"""Restores 1,000,000 small keys: keys a second from the stored file to the last acknowledged key; called by __main__.

The restore loads the stored file into its throw-away server and writes the commands; the verification before it, which
reads the whole file to its right end, is reported apart. Beside it, in the same rounds, `redis-cli --pipe` of the very
commands that the restore sends, from a file.
"""

import io
import subprocess
import tempfile
import time
from contextlib import AbstractContextManager
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median

from backup_operator.contract.order import RedisOrder, SecretFile
from backup_operator.contract.restore import RedisTargetOrder
from backup_operator.vocabulary.choices import ArtifactKind, Compression
from backup_operator.worker.inspection import inspector_of
from backup_operator.worker.sources.redis import RedisSource
from backup_operator.worker.stages.chain import Recipe, Unsealing, seal, unseal
from backup_operator.worker.targets.base import RestoredArtifact
from backup_operator.worker.targets.redis import RedisTarget
from backup_operator.worker.targets.redis_throwaway import ThrowAwayServer
from tests.support.redis_server import RedisServer

KEYS = 1_000_000
AIM_KEYS_PER_SECOND = 200_000
_PASSPHRASE = b"a passphrase of the benchmark"


def run(rounds: int) -> None:
    """Print the figures of each round and their medians."""
    print(f"Restore of {KEYS:,} small keys into an empty Redis, {rounds} rounds:")
    with tempfile.TemporaryDirectory() as made, RedisServer() as target:
        directory = Path(made)
        artifact = _stored(directory)
        commands = _commands(directory, artifact)
        ours, pipe, verified = [], [], []
        for turn in range(rounds + 1):
            verification = _verify(artifact)
            restored, steps = _restore(directory, target, artifact)
            piped = _pipe(target, commands)
            if turn:
                ours.append(restored)
                pipe.append(piped)
                verified.append(verification)
                figures = f"restore {_rate(restored)} ({steps}), redis-cli --pipe {_rate(piped)}"
                print(f"  round {turn}: {figures}", flush=True)
    rate = f"{KEYS / median(ours):,.0f} keys/s (aim {AIM_KEYS_PER_SECOND:,})"
    print(f"  restore, from the stored file to the last acknowledged key: {rate}")
    print(f"  verification of the stored file before it: {median(verified):.1f} s")
    print(f"  seconds against redis-cli --pipe of its commands from a file: {median(ours) / median(pipe):.2f}")


def _stored(directory: Path) -> RestoredArtifact:
    """The encrypted backup of a server with the keys."""
    with RedisServer() as source:
        with source.client() as client:
            client.execute_command("DEBUG", "POPULATE", KEYS, "key")
        made = RedisSource(RedisOrder(url=_secret(directory, "source", source.url())), scratch=directory)
        facts = made.preflight()
        stored = io.BytesIO()
        with made.dumps()[0].stream() as chunks:
            sealed = seal(chunks, stored, Recipe(Compression.GZIP, 2, _PASSPHRASE))
    path = directory / "stored"
    path.write_bytes(stored.getvalue())
    return RestoredArtifact(
        kind=ArtifactKind.REDIS_RDB,
        name="redis_20260102_030405.rdb.gz.gpg",
        plain_bytes=sealed.plain_bytes,
        open=partial(_open, path),
        keys_per_database={0: KEYS},
        server=facts.server,
    )


def _open(path: Path) -> AbstractContextManager[Unsealing]:
    return unseal(path.open("rb"), [_PASSPHRASE], Compression.GZIP)


def _commands(directory: Path, artifact: RestoredArtifact) -> Path:
    """The commands that a restore sends, in a file."""
    with ThrowAwayServer("redis-server", directory, highest_database=0) as server:
        server.load(artifact)
        return server.write_commands().rename(directory / "commands")


def _verify(artifact: RestoredArtifact) -> float:
    """Seconds to read the stored file to its right end, as before every restore."""
    started = time.monotonic()
    with inspector_of(artifact.kind) as inspector:
        with artifact.open() as chunks:
            for chunk in chunks:
                inspector.update(chunk)
        assert inspector.finish().keys == KEYS
    return time.monotonic() - started


def _restore(directory: Path, server: RedisServer, artifact: RestoredArtifact) -> tuple[float, str]:
    """Seconds from opening the stored file to the last reply, and the seconds of each part."""
    _flush(server)
    order = RedisTargetOrder(url=_secret(directory, "target", server.url()))
    target = RedisTarget(order, scratch=directory, confirm="", memory_limit_bytes=None)
    begun = [("load", time.monotonic())]
    target.survey([artifact])
    target.apply([artifact], lambda name: begun.append((name, time.monotonic())))
    target.close()
    parts = [f"{name} {after - at:.1f} s" for (name, at), (_, after) in pairwise(begun)]
    return dict(begun)["count"] - begun[0][1], ", ".join(parts)


def _pipe(server: RedisServer, commands: Path) -> float:
    _flush(server)
    started = time.monotonic()
    with commands.open("rb") as file:
        argv = ["redis-cli", "-h", server.host, "-p", str(server.port), "--pipe"]
        subprocess.run(argv, stdin=file, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - started


def _flush(server: RedisServer) -> None:
    with server.client() as client:
        client.flushall()


def _secret(directory: Path, name: str, text: str) -> SecretFile:
    path = directory / f"{name}.url"
    path.write_text(text)
    return SecretFile(path=str(path), described=f"the URL of the {name}")


def _rate(seconds: float) -> str:
    return f"{seconds:.1f} s = {KEYS / seconds:,.0f} keys/s"
