"""A real single-node Kubernetes in namespaces of its own, for machines without kind. Used by `__main__`.

Mounts, processes, network, host name and shared memory are the node's own; process 1 in them is `init`. Killing it ends
everything. The API server is reached from outside over a veth pair at 10.200.N.2:6443.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.cluster import certificates, cgroups
from tests.cluster.addresses import Addresses, choose_index, taken_now
from tests.cluster.commands import Progress, output, say, succeeds, tail, wait_until
from tests.cluster.errors import ClusterError
from tests.cluster.locks import exclusive
from tests.cluster.places import CHECKOUT, Places
from tests.cluster.programs import NODE_PROGRAMS, link_tools, provide
from tests.cluster.settings import CONTAINERD_SOCKET, NODE

MACHINE_LOCK = Path("/run/lock/backup-operator-node.lock")
"""Guards the choice of an index; every checkout of every user on the machine takes the same one."""
READY_SECONDS = 120
CRASHES = 6
NAMESPACES = ("--mount", "--pid", "--net", "--ipc", "--uts")


def up(places: Places, pause_archive: Path) -> None:
    """Brings the node up and waits until it is Ready with a default StorageClass. Raises ClusterError with the logs."""
    directories = provide(places, NODE_PROGRAMS)
    tools = {path.name: path for directory in directories for path in directory.iterdir()}
    link_tools(places, [tools["kubectl"], tools["helm"]])
    try:
        _start(places, os.pathsep.join(map(str, directories)))
        wait_until("starting the node", lambda: _is_ready(places), seconds=READY_SECONDS)
        load(places, pause_archive.read_bytes())
    except ClusterError as problem:
        explained = explain(places)
        _end(places)
        raise ClusterError(
            problem.message, detail=f"{problem.detail}\n{explained}".strip(), hint=problem.hint
        ) from problem


def _start(places: Places, program_path: str) -> None:
    shutil.rmtree(places.node, ignore_errors=True)
    (places.node / "log").mkdir(parents=True)
    with exclusive(MACHINE_LOCK, doing="starting a node"):
        addresses = Addresses(choose_index(*taken_now()))
        certificates.make_all(places.node / "pki", addresses.node, NODE)
        shutil.copyfile(places.node / "pki" / "admin.conf", places.kubeconfig)
        places.kubeconfig.chmod(0o600)
        state = {"flavour": "node", "index": addresses.index}
        places.write_state(state)  # before anything is made, so that `down` finds it
        cgroups.make(addresses.cgroup)
        outer = _unshare(places, addresses, program_path)
        places.write_state(state | {"outer": identity_of(outer)})
        inner = _child_of(outer)
        places.write_state(state | {"outer": identity_of(outer), "inner": identity_of(inner)})
        output(["ip", "link", "add", addresses.link, "type", "veth", "peer", "name", "eth0", "netns", str(inner)])
    output(["ip", "address", "add", f"{addresses.machine}/30", "dev", addresses.link])
    output(["ip", "link", "set", addresses.link, "up"])


def _unshare(places: Places, addresses: Addresses, program_path: str) -> int:
    init = (sys.executable, "-m", "tests.cluster.init", str(places.node), str(addresses.index))
    path = f"{program_path}{os.pathsep}{os.environ['PATH']}"
    with (places.node / "log" / "init.log").open("wb") as log:
        process = subprocess.Popen(
            ["unshare", *NAMESPACES, "--fork", "--kill-child", "--", *init],
            cwd=CHECKOUT,
            env=dict(os.environ, PATH=path, PYTHONDONTWRITEBYTECODE="1", PYTHONUNBUFFERED="1"),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    return process.pid


def _child_of(pid: int) -> int:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except FileNotFoundError as exc:
            raise ClusterError("unshare ended at once", hint="the node needs root with CAP_SYS_ADMIN") from exc
        if children:
            return int(children[0])
        time.sleep(0.02)
    raise ClusterError("unshare started no process within 10 s")


def identity_of(pid: int) -> list[int]:
    """A process id with its start time: a later process with the same number is another one."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return [pid, int(fields[19])]


def is_alive(identity: Sequence[int] | None) -> bool:
    """True while the process that the identity was taken of is there and not a zombie."""
    if not identity:
        return False
    try:
        fields = Path(f"/proc/{identity[0]}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return fields[0] != "Z" and int(fields[19]) == identity[1]


def is_running(places: Places) -> bool:
    """True while the node's first process lives."""
    return is_alive(places.read_state().get("inner"))


def _is_ready(places: Places) -> bool:
    if not is_running(places):
        raise ClusterError("the node's first process ended")
    if doomed := crashing(_story(places)):
        raise ClusterError(f"{doomed} ends again and again")
    kubectl = [str(places.bin / "kubectl"), f"--kubeconfig={places.kubeconfig}"]
    return all(
        succeeds([*kubectl, *words])
        for words in (
            ["wait", "--for=condition=Ready", f"node/{NODE}", "--timeout=1s"],
            ["get", "serviceaccount/default", "storageclass/standard"],
        )
    )


def enter(places: Places) -> list[str]:
    """The start of a command line that runs inside the node; nsenter keeps no working directory: use absolute paths."""
    state = places.read_state()
    if not is_alive(state.get("inner")):
        raise ClusterError("the node does not run", hint="make cluster")
    return ["nsenter", "-t", str(state["inner"][0]), "-m", "-p", "-n", "-i", "-u", "--"]


def containerd_client(places: Places) -> list[str]:
    """`ctr` inside the node, in the namespace that kubelet uses."""
    return [*enter(places), "ctr", "--address", CONTAINERD_SOCKET, "--namespace", "k8s.io"]


def load(places: Places, archive: bytes) -> None:
    """Imports a small image archive."""
    done = subprocess.run(
        [*containerd_client(places), "images", "import", "-"], input=archive, capture_output=True, check=False
    )
    if done.returncode != 0:
        raise ClusterError("an image could not be imported", detail=done.stderr.decode(errors="replace"))


def restart_apiserver(places: Places, seconds: float) -> None:
    """Takes the API server away for so long, then waits until it answers again."""
    held = places.node / "held" / "kube-apiserver"
    inside_pid = (places.node / "log" / "kube-apiserver.pid").read_text().strip()
    held.touch()
    try:
        # SIGKILL: asked politely, it drains its watches for a minute first
        output([*enter(places), "kill", "-KILL", inside_pid])
        with Progress(f"API server away for {seconds:.0f} s") as progress:
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                progress.tick()
    finally:
        held.unlink()
    wait_until("API server coming back", lambda: _is_ready(places), seconds=READY_SECONDS)


def crashing(story: str) -> str:
    """Name of a component that ended too often to wait any longer, out of the node's own log; empty without one."""
    ended = Counter(line.split(" ended with ")[0] for line in story.splitlines() if " ended with " in line)
    return next((name for name, times in ended.items() if times >= CRASHES), "")


def _story(places: Places) -> str:
    log = places.node / "log" / "init.log"
    return log.read_text(errors="replace") if log.exists() else ""


def explain(places: Places) -> str:
    """The logs that tell why a start failed: the node's own, and each ended component's, else kubelet's."""
    logs = places.node / "log"
    story = _story(places)
    ended = {line.split(" ended with ")[0] for line in story.splitlines() if " ended with " in line}
    names = sorted(ended) or ["kubelet"]
    parts = [f"--- log/init.log\n{tail(story, 25)}"]
    for name in names:
        log = logs / f"{name}.log"
        if log.exists():
            parts.append(f"--- log/{log.name}\n{tail(log.read_text(errors='replace'), 25)}")
    return "\n".join(parts)


def down(places: Places) -> None:
    """Ends the node and removes all that it made."""
    _end(places)
    left = [line for line in Path("/proc/self/mounts").read_text().splitlines() if f" {places.node}" in line]
    if left:
        raise ClusterError("something is still mounted below the node's state", detail="\n".join(left))
    if places.node.exists():
        shutil.rmtree(places.node)


def _remove_link(name: str) -> None:
    link = Path("/sys/class/net", name)
    # the kernel removes it too, a moment after the namespace of its other end: either may be first
    if link.exists() and not succeeds(["ip", "link", "delete", name]):
        wait_until(f"the link {name} going away", lambda: not link.exists(), seconds=10)


def _end(places: Places) -> None:
    state = places.read_state()
    for name in ("outer", "inner"):
        if is_alive(state.get(name)):
            os.kill(state[name][0], signal.SIGKILL)
    wait_until("ending the node", lambda: not any(is_alive(state.get(name)) for name in ("outer", "inner")), seconds=30)
    if "index" not in state:
        return
    addresses = Addresses(state["index"])
    _remove_link(addresses.link)
    cgroups.remove(addresses.cgroup)
    say(f"the node at {addresses.node} is gone")
