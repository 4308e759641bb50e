"""The Docker daemon that images are built with: the machine's own, else one of ours. Used by images and `__main__`.

Ours belongs to a cache directory, so its images outlive `make down`; all checkouts with that cache share it, and the
last one to go ends it. It has no bridge and touches no firewall: builds run with `--network host`, and nothing else
runs on it.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import cgroups
from tests.cluster.commands import output, run_long, say, succeeds, tail, wait_until
from tests.cluster.errors import ClusterError, MachineLacks
from tests.cluster.locks import exclusive
from tests.cluster.places import Places, digest

START_SECONDS = 60


@dataclass(frozen=True)
class Docker:
    """One daemon; an empty host is the client's default."""

    host: str = ""

    @property
    def ours(self) -> bool:
        """True for the daemon that we start ourselves."""
        return bool(self.host)

    @property
    def environment(self) -> dict[str, str]:
        """What a docker command must see."""
        environment = dict(os.environ)
        if self.host:
            environment["DOCKER_HOST"] = self.host
            environment.pop("DOCKER_CONTEXT", None)
        if self.host or not succeeds(["docker", "buildx", "version"]):
            environment["DOCKER_BUILDKIT"] = "0"  # without buildx the client falls back, with a page of warnings
        return environment

    def output(self, *words: str, timeout_seconds: float = 300) -> str:
        """What `docker …` prints. Raises CommandFailed."""
        return output(["docker", *words], environment=self.environment, timeout_seconds=timeout_seconds)

    def run_long(self, label: str, words: Sequence[str], log: Path) -> None:
        """Runs `docker …` with the seconds on the screen. Raises CommandFailed."""
        run_long(label, ["docker", *words], log=log, environment=self.environment)

    def has_image(self, name: str) -> bool:
        """True when the daemon holds the image."""
        return succeeds(["docker", "image", "inspect", name], environment=self.environment)

    def image_id(self, name: str) -> str:
        """The image's id (`sha256:…`). Raises CommandFailed when there is no such image."""
        return self.output("image", "inspect", "--format", "{{.Id}}", name)


@dataclass(frozen=True)
class OwnDaemon:
    """Where our daemon keeps its files: images in the cache, the rest below /run."""

    images: Path
    run: Path

    @property
    def host(self) -> str:
        """The address of its socket."""
        return f"unix://{self.run}/docker.sock"

    @property
    def users(self) -> Path:
        """A file for each checkout that uses the daemon, holding the checkout's path."""
        return self.run / "users"

    @property
    def pid_file(self) -> Path:
        """Written by dockerd."""
        return self.run / "docker.pid"

    @property
    def lock(self) -> Path:
        """Outside of `run`, which goes away with the daemon."""
        return self.images.with_name("docker.lock")

    @property
    def cgroup(self) -> str:
        """The control group that build containers live in."""
        return f"bo-{self.run.name}"


def own_daemon(places: Places) -> OwnDaemon:
    """The daemon of this cache; unix sockets stay short, however long the cache's path."""
    return OwnDaemon(
        images=places.cache / "docker", run=Path("/run") / f"backup-operator-docker-{digest([str(places.cache)])[:8]}"
    )


def machine_daemon_answers() -> bool:
    """True when the docker client reaches a daemon by itself."""
    return succeeds(["docker", "version", "--format", "{{.Server.Version}}"])


def reach(places: Places) -> Docker:
    """A daemon that answers, started by us when the machine has none. Raises MachineLacks."""
    if machine_daemon_answers():
        return Docker()
    own = own_daemon(places)
    if os.geteuid() != 0:
        raise MachineLacks("no Docker daemon answers", hint="start one, or run as root, so that we can start our own")
    with exclusive(own.lock, doing="starting or ending the Docker daemon"):
        own.run.mkdir(exist_ok=True, mode=0o700)
        own.users.mkdir(exist_ok=True)
        (own.users / places.name).write_text(str(places.checkout))  # first, so that `leave` ends a start that failed
        if not _answers(own):
            _start(own, places.cache / "log" / "dockerd.log")
    return Docker(own.host)


def _answers(own: OwnDaemon) -> bool:
    return succeeds(["docker", "--host", own.host, "version"])


def _start(own: OwnDaemon, log: Path) -> None:
    own.images.mkdir(parents=True, exist_ok=True)
    own.pid_file.unlink(missing_ok=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as sink:
        process = subprocess.Popen(
            _command(own), stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, start_new_session=True
        )

    def answers() -> bool:
        if process.poll() is not None:
            raise ClusterError("dockerd ended at once", detail=tail(log.read_text(errors="replace")))
        return _answers(own)

    wait_until("starting a Docker daemon", answers, seconds=START_SECONDS)


def _command(own: OwnDaemon) -> list[str]:
    places = ["--data-root", str(own.images), "--exec-root", str(own.run / "exec"), "--pidfile", str(own.pid_file)]
    network = ["--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false"]
    return ["dockerd", "--host", own.host, *places, *network, "--cgroup-parent", f"/{own.cgroup}"]


def leave(places: Places) -> None:
    """Gives up our daemon, and ends it when no other checkout uses it; the machine's own is left alone."""
    own = own_daemon(places)
    mark = own.users / places.name
    if not mark.exists():
        return
    with exclusive(own.lock, doing="starting or ending the Docker daemon"):
        mark.unlink()
        others = [file for file in own.users.glob("*") if Path(file.read_text()).is_dir()]
        if others:
            say(f"the Docker daemon stays: {others[0].read_text()} uses it")
            return
        _end(own)


def _end(own: OwnDaemon) -> None:
    if own.pid_file.exists():
        pid = int(own.pid_file.read_text())
        if _is_dockerd(pid):
            os.kill(pid, signal.SIGTERM)
            wait_until("ending the Docker daemon", lambda: not _is_dockerd(pid), seconds=30)
    cgroups.remove(own.cgroup)
    _unmount_below(own.run)
    shutil.rmtree(own.run)


def _is_dockerd(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() == "dockerd" and "Z" not in _state_of(pid)
    except (FileNotFoundError, ProcessLookupError):
        return False


def _state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def _unmount_below(directory: Path) -> None:
    points = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for point in sorted((point for point in points if Path(point).is_relative_to(directory)), reverse=True):
        output(["umount", "--lazy", point])
