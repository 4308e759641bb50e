"""Nodes side by side get addresses of their own, and leave the machine's alone."""

import pytest

from tests.cluster.addresses import INDEXES, Addresses, choose_index
from tests.cluster.errors import MachineLacks


@pytest.mark.parametrize(
    ("links", "networks", "expected"),
    [
        pytest.param(["lo", "eth0"], ["192.168.1.0/24"], 0, id="the first one"),
        pytest.param(["lo", "bo-node0", "bo-node1"], [], 2, id="after two other nodes"),
        pytest.param(["bo-node1"], ["10.200.0.0/30"], 2, id="a route without our link counts too"),
        pytest.param([], ["10.200.0.0/24", "10.200.1.128/25"], 2 - 1, id="only overlapping routes count"),
        pytest.param([], ["10.0.0.0/8", "10.200.0.0/16"], 0, id="a vpn's wide route does not"),
        pytest.param([], ["fe80::/64"], 0, id="nor does one of the other family"),
    ],
)
def test_the_first_free_index_is_taken(links: list[str], networks: list[str], expected: int):
    assert choose_index(links, networks) == expected


def test_a_machine_full_of_nodes_is_refused():
    with pytest.raises(MachineLacks, match="no network"):
        choose_index([Addresses(index).link for index in INDEXES], [])


def test_every_link_name_fits_the_kernel():
    assert max(len(Addresses(index).link) for index in INDEXES) <= 15
