"""Process 1 of the node's namespaces: mounts, network, files, then every component, started again whenever one ends.

Started by node as `python3 -m tests.cluster.init STATE INDEX` under unshare(1). When it ends, the kernel ends all that
is in its process namespace.
"""

import os
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from tests.cluster import components, settings
from tests.cluster.addresses import Addresses
from tests.cluster.components import Component

RESTART_AFTER_SECONDS = 1.0
LOOK_EVERY_SECONDS = 0.2
STATE = Path(settings.STATE)


def main() -> None:
    """Sets up the node and looks after it until killed."""
    state, addresses = Path(sys.argv[1]), Addresses(int(sys.argv[2]))
    mount_all(state)
    connect(addresses)
    write_settings(addresses)
    keeper = Keeper(STATE / "log", STATE / "held")
    keeper.start(components.foundation(addresses))
    keeper.watch_until(api_server_is_ready)
    keeper.start(components.upper_storey(addresses))
    run("kubectl", f"--kubeconfig={settings.PKI}/admin.conf", "apply", "-f", f"{STATE}/storage.json")
    keeper.start([components.provisioner()])
    keeper.watch_until(never)


def run(*argv: str) -> None:
    """A command that must succeed; its words go to the node's own log."""
    print("+", *argv, flush=True)
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)


def mount_all(state: Path) -> None:
    """A /proc and a /run of our own, the state at its fixed place, and mounts that reach from pods to the node."""
    run("mount", "--make-rprivate", "/")
    run("mount", "-t", "proc", "proc", "/proc")
    held = os.open(state, os.O_PATH | os.O_DIRECTORY)  # the new /run could hide the way to it
    run("mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", "/run")
    STATE.mkdir()
    subprocess.run(["mount", "--bind", f"/proc/self/fd/{held}", str(STATE)], check=True, pass_fds=[held])
    os.close(held)
    run("mount", "--make-rshared", "/")
    for name in ("log", "held", "etcd", "kubelet", "containerd", "cni", "pods", "volumes", "volume-plugins"):
        (STATE / name).mkdir(exist_ok=True)
    (STATE / "etcd").chmod(0o700)
    Path("/run/containerd").mkdir()


def connect(addresses: Addresses) -> None:
    """Takes the link that node hands in. Connections come in; none goes out, whatever the machine forwards."""
    run("hostname", settings.NODE)
    run("ip", "link", "set", "lo", "up")
    wait_for_link("eth0")
    run("ip", "address", "add", f"{addresses.node}/30", "dev", "eth0")
    run("ip", "link", "set", "eth0", "up")
    run("ip", "route", "add", "default", "via", addresses.machine)
    for chain in ("OUTPUT", "FORWARD"):
        new = ("-m", "conntrack", "--ctstate", "NEW")
        run("iptables", "-I", chain, "-o", "eth0", *new, "-j", "REJECT", "--reject-with", "icmp-net-unreachable")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    # a machine without the bridge filter has none to switch on; services then fail and say so
    bridge_filter = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    if bridge_filter.exists():
        bridge_filter.write_text("1")


def wait_for_link(name: str) -> None:
    """Waits for the network link; node moves it in as soon as this process is there."""
    deadline = time.monotonic() + 20
    while (
        not Path("/sys/class/net", name).exists()
        and subprocess.run(["ip", "link", "show", name], capture_output=True, check=False).returncode
    ):
        if time.monotonic() > deadline:
            sys.exit(f"no link {name} after 20 s")
        time.sleep(0.05)


def write_settings(addresses: Addresses) -> None:
    """Writes every component's file to where its command line looks."""
    files = {
        "cni/10-bridge.conflist": settings.pod_network(),
        "containerd.toml": settings.containerd(),
        "kubelet.yaml": settings.kubelet(addresses.node, addresses.cgroup),
        "resolv.conf": "nameserver 127.0.0.1\n",
        "Corefile": settings.corefile(addresses.node),
        "provisioner.json": settings.provisioner()["config.json"],
        "storage.json": settings.storage_manifests(),
    }
    for name, text in files.items():
        (STATE / name).write_text(text)


def api_server_is_ready() -> bool:
    """Asks /readyz as the administrator."""
    context = ssl.create_default_context(cafile=f"{settings.PKI}/ca.crt")
    context.load_cert_chain(f"{settings.PKI}/admin.crt", f"{settings.PKI}/admin.key")
    try:
        with urllib.request.urlopen("https://127.0.0.1:6443/readyz", timeout=2, context=context) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def never() -> bool:
    """The node is looked after until it is killed."""
    return False


class Keeper:
    """Starts components, reaps every child that ends, and starts a component again unless it is held down.

    A file `<held>/<component>` keeps that component from being started: so a test takes the API server away.
    """

    def __init__(self, logs: Path, held: Path) -> None:
        self.logs = logs
        self.held = held
        # the Popen objects are kept: subprocess would reap a forgotten one behind our back
        self.running: dict[int, tuple[Component, subprocess.Popen[bytes]]] = {}
        self.waiting: list[tuple[float, Component]] = []

    def start(self, wanted: list[Component]) -> None:
        """Starts the components, each with a log of its own."""
        for component in wanted:
            with (self.logs / f"{component.name}.log").open("ab") as log:
                process = subprocess.Popen(component.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            (self.logs / f"{component.name}.pid").write_text(str(process.pid))
            self.running[process.pid] = component, process

    def watch_until(self, ready: Callable[[], bool]) -> None:
        """Reaps and restarts until the condition holds, which is asked five times a second."""
        while not ready():
            time.sleep(LOOK_EVERY_SECONDS)
            self.reap()
            self.restart_due(time.monotonic())

    def reap(self) -> None:
        """Collects every ended child; a component among them is noted and waits for its restart."""
        while self.running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            if pid in self.running:
                component, process = self.running.pop(pid)
                code = process.returncode = os.waitstatus_to_exitcode(status)
                print(f"{component.name} ended with {code}, see log/{component.name}.log", flush=True)
                self.waiting.append((time.monotonic() + RESTART_AFTER_SECONDS, component))

    def restart_due(self, now: float) -> None:
        """Starts what has waited long enough and is not held down."""
        due = [one for at, one in self.waiting if at <= now and not (self.held / one.name).exists()]
        self.waiting = [(at, one) for at, one in self.waiting if one not in due]
        self.start(due)


if __name__ == "__main__":
    main()
