"""The command line of the test cluster; called by the Makefile, .ci/run and people.

python3 -m tests.cluster up                    bring the cluster up, or say that it is
python3 -m tests.cluster images [NAME…]        build the images, and load them when the cluster is up
python3 -m tests.cluster run [--node N] -- …   run a command inside a node
python3 -m tests.cluster restart-apiserver [--seconds 30]
python3 -m tests.cluster status                say what runs; exit 1 when nothing does
python3 -m tests.cluster env                   print what to eval in a shell
python3 -m tests.cluster packages SET          install Debian packages: node, docker, venv, integration
python3 -m tests.cluster down                  end everything, keep the caches
"""

import argparse
import os
import shutil
import sys

from tests.cluster import base_images, docker, images, kind, machine, node, packages, preflight
from tests.cluster.commands import say
from tests.cluster.errors import ClusterError, NodeImageMissing
from tests.cluster.locks import exclusive
from tests.cluster.places import Places, digest, here
from tests.cluster.programs import NODE_PROGRAMS, missing, provide


def main() -> int:
    """Runs one verb; problems are printed as message, detail, hint."""
    # a shell of root may lack these, and iptables, ip and debootstrap live there
    os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])
    places = here()
    # kubectl is the one of this cluster, and so is what it talks to
    os.environ["PATH"] = os.pathsep.join([str(places.bin), os.environ["PATH"]])
    os.environ.update(KUBECONFIG=str(places.kubeconfig), KUBECACHEDIR=str(places.kubectl_cache))
    arguments = parse(sys.argv[1:])
    try:
        return VERBS[arguments.verb](places, arguments)
    except ClusterError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; `make down` removes what was started", file=sys.stderr)
        return 130


def parse(words: list[str]) -> argparse.Namespace:
    """The verb and what belongs to it."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.cluster", description="The test cluster.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("up", help="bring the cluster up")
    verbs.add_parser("down", help="end everything, keep the caches")
    verbs.add_parser("status", help="say what runs")
    verbs.add_parser("env", help="print KUBECONFIG and PATH for a shell")
    verbs.add_parser("images", help="build the images and load them").add_argument("names", nargs="*", metavar="NAME")
    running = verbs.add_parser("run", help="run a command inside a node")
    running.add_argument("--node", default="", help="which one, on kind")
    running.add_argument("command", nargs="+")
    restarting = verbs.add_parser("restart-apiserver", help="take the API server away for a while")
    restarting.add_argument("--seconds", type=float, default=30)
    verbs.add_parser("packages", help="install Debian packages").add_argument("set", choices=sorted(packages.SETS))
    return parser.parse_args(words)


def up(places: Places, _: argparse.Namespace) -> int:
    """Brings up the cluster that this machine can have."""
    with exclusive(places.cache / "locks" / places.name, doing="starting or ending this cluster"):
        if is_running(places):
            say(f"the cluster is up ({places.read_state()['flavour']}): {places.kubeconfig}")
            return 0
        choice = preflight.choose(machine.read(places, os.environ))
        take_down(places)
        places.cluster.mkdir(exist_ok=True)
        say(f"taking {choice.flavour} ({choice.why})")
        start(places, choice)
    return status(places, _)


def start(places: Places, choice: preflight.Choice) -> None:
    """Starts the chosen flavour; kind without a node image gives way to the node of our own, where that is possible."""
    if choice.flavour == "kind":
        try:
            kind.up(places)
        except NodeImageMissing as problem:
            facts = machine.read(places, os.environ)
            if facts.wanted == "kind" or preflight.node_needs(facts):
                raise
            say(f"taking a node of our own: {problem.message}\n{problem.detail}")
        else:
            return
    packages.provide(places, "node")
    if missing(places, NODE_PROGRAMS):
        say("building Kubernetes from Go modules, once for this machine: about 7 minutes on two cores")
    provide(places, NODE_PROGRAMS)
    node.up(places, base_images.pause_archive(places, docker.reach(places)))


def is_running(places: Places) -> bool:
    """True when the cluster of this checkout answers."""
    flavour = places.read_state().get("flavour")
    return (flavour == "kind" and kind.is_running(places)) or (flavour == "node" and node.is_running(places))


def down(places: Places, _: argparse.Namespace) -> int:
    """Ends the cluster and our Docker daemon."""
    with exclusive(places.cache / "locks" / places.name, doing="starting or ending this cluster"):
        take_down(places)
        docker.leave(places)
    return 0


def take_down(places: Places) -> None:
    """Ends what the state names, and removes `.cluster`."""
    flavour = places.read_state().get("flavour")
    if flavour == "kind":
        kind.down(places)
    if flavour == "node":
        node.down(places)
    if places.cluster.exists():
        shutil.rmtree(places.cluster)


def build_images(places: Places, arguments: argparse.Namespace) -> int:
    """Builds images, and loads them when there is a cluster."""
    if not docker.machine_daemon_answers():
        packages.provide(places, "docker")
    daemon = docker.reach(places)
    # one lock around both: another checkout builds on the same daemon, under the same names
    names_of_daemon = digest([daemon.environment.get("DOCKER_HOST", "")])[:8]
    with exclusive(places.cache / "locks" / f"images-{names_of_daemon}", doing="building images"):
        built = images.build_all(places, daemon, arguments.names)
        if is_running(places):
            images.load(places, daemon, built)
    return 0


def run(places: Places, arguments: argparse.Namespace) -> int:
    """Replaces this process by a command inside a node."""
    flavour = places.read_state().get("flavour")
    words = kind.enter(places, arguments.node) if flavour == "kind" else node.enter(places)
    os.execvp(words[0], [*words, *arguments.command])


def restart_apiserver(places: Places, arguments: argparse.Namespace) -> int:
    """Takes the API server away and brings it back."""
    flavour = places.read_state().get("flavour")
    (kind if flavour == "kind" else node).restart_apiserver(places, arguments.seconds)
    return 0


def status(places: Places, _: argparse.Namespace) -> int:
    """Says what runs."""
    if not is_running(places):
        say("no cluster runs; `make cluster` brings one up")
        return 1
    say(f"{places.read_state()['flavour']}: {', '.join(door.name for door in images.nodes(places))}")
    say(f"export KUBECONFIG={places.kubeconfig}")
    return 0


def env(places: Places, _: argparse.Namespace) -> int:
    """Prints what a shell evaluates."""
    say(f'export KUBECONFIG={places.kubeconfig} KUBECACHEDIR={places.kubectl_cache} PATH={places.bin}:"$PATH"')
    return 0


def install_packages(places: Places, arguments: argparse.Namespace) -> int:
    """Installs a set of Debian packages."""
    packages.provide(places, arguments.set)
    return 0


VERBS = {
    "up": up,
    "down": down,
    "images": build_images,
    "run": run,
    "restart-apiserver": restart_apiserver,
    "status": status,
    "env": env,
    "packages": install_packages,
}

if __name__ == "__main__":
    sys.exit(main())
