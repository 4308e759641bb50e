"""Which addresses a node of our own takes, so that several run side by side. Used by node.

Each node has an index N from 0 to 254 and with it one /30: 10.200.N.1 is the machine's end, 10.200.N.2 the node's.
"""

import ipaddress
import json
from collections.abc import Collection
from dataclasses import dataclass

from tests.cluster.commands import output
from tests.cluster.errors import MachineLacks

INDEXES = range(255)
LINK_PREFIX = "bo-node"


@dataclass(frozen=True)
class Addresses:
    """What follows from a node's index."""

    index: int

    @property
    def machine(self) -> str:
        """The machine's end of the link."""
        return f"10.200.{self.index}.1"

    @property
    def node(self) -> str:
        """The node's end: API server, DNS and NodePorts listen here."""
        return f"10.200.{self.index}.2"

    @property
    def link(self) -> str:
        """Name of the machine's end; at most 15 characters, as the kernel has it."""
        return f"{LINK_PREFIX}{self.index}"

    @property
    def cgroup(self) -> str:
        """The control group that all pods of the node live in."""
        return f"{LINK_PREFIX}{self.index}"


def choose_index(links: Collection[str], networks: Collection[str]) -> int:
    """The first index whose link name is free and whose network overlaps no narrower route of the machine.

    A route wider than /24 (a VPN's 10.0.0.0/8) does not count: ours is the more specific one. Raises MachineLacks.
    """
    routes = [ipaddress.ip_network(word, strict=False) for word in networks if "." in word]
    narrow = [route for route in routes if route.prefixlen >= 24]
    for index in INDEXES:
        own = ipaddress.ip_network(f"10.200.{index}.0/30")
        if Addresses(index).link not in links and not any(own.overlaps(route) for route in narrow):
            return index
    raise MachineLacks(
        "no network 10.200.N.0/30 is free", hint="see `ip route`; `make down` in other checkouts frees theirs"
    )


def taken_now() -> tuple[list[str], list[str]]:
    """Names of the machine's links, and the networks that it has routes to."""
    links = [entry["ifname"] for entry in json.loads(output(["ip", "-json", "link"]))]
    routes = [entry["dst"] for entry in json.loads(output(["ip", "-json", "route"]) or "[]")]
    return links, [route for route in routes if route != "default"]
