"""Command lines, and what is told when one fails."""

from pathlib import Path
from typing import Any

import pytest

from tests.cluster import images, kind, node, packages
from tests.cluster.commands import tail
from tests.cluster.errors import ClusterError
from tests.cluster.places import Places

PLACES = Places(Path("/src"), Path("/cache"))
OPERATOR, WORKER, SERVERS = images.IMAGES


def test_an_error_is_told_as_message_detail_and_hint():
    problem = ClusterError("it broke", detail="line 3", hint="make down")

    assert str(problem) == "it broke\ndetail: line 3\nhint: make down"


def test_the_end_of_a_log_is_what_is_shown():
    assert tail("one\ntwo\nthree\n", 2) == "two\nthree"


def test_a_package_is_named_once_though_it_brings_two_programs():
    wanted = {"containerd": "containerd", "ctr": "containerd", "ip": "iproute2", "runc": "runc"}

    assert packages.missing(wanted, lambda thing: thing == "ip") == ["containerd", "runc"]


def test_an_image_is_built_from_the_published_base_without_arguments():
    words = images.build_words(OPERATOR, Path("/src"), "debian:trixie-slim", {})

    assert words == [
        *("build", "--network", "host", "--tag", "backup-operator:dev", "--file", "/src/operator/Dockerfile"),
        *("--target", "operator", "/src"),
    ]


def test_a_home_made_base_is_named():
    words = images.build_words(WORKER, Path("/src"), "localhost/base:1", {})

    assert "BASE_IMAGE=localhost/base:1" in words


def test_the_value_of_a_package_index_stays_off_the_command_line():
    words = images.build_words(OPERATOR, Path("/src"), "debian:trixie-slim", {"PIP_INDEX_URL": "https://u:secret@i/"})

    assert words[words.index("--build-arg") + 1] == "PIP_INDEX_URL"
    assert "secret" not in " ".join(words)


def test_the_servers_image_has_a_context_of_its_own():
    words = images.build_words(SERVERS, Path("/src"), "debian:trixie-slim", {"PIP_INDEX_URL": "https://i/"})

    assert words[-1] == "/src/tests/cluster/images/servers"
    assert "--build-arg" not in words


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        pytest.param({}, ["/src/kind-config.yaml"], id="kind's own image"),
        pytest.param({"KIND_CONFIG": "/two.yaml"}, ["/two.yaml"], id="another configuration"),
        pytest.param({"KIND_NODE_IMAGE": "n:1"}, ["/src/kind-config.yaml", "n:1"], id="another node image"),
    ],
)
def test_kind_is_asked_for_the_wanted_nodes(environment: dict[str, str], expected: list[str]):
    words = kind.create_words(PLACES, environment)

    named = [words[words.index(flag) + 1] for flag in ("--config", "--image") if flag in words]
    assert named == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        pytest.param('ERROR: failed to create cluster: failed to pull image "kindest/node"', True, id="not pulled"),
        pytest.param("ERROR: failed to create cluster: failed to init node with kubeadm", False, id="not started"),
    ],
)
def test_a_missing_node_image_is_told_from_a_failed_start(written: str, *, expected: bool):
    assert kind.node_image_is_missing(written) is expected


def test_a_component_that_keeps_ending_is_named():
    story = "+ mount\n" + "containerd ended with 1, see log/containerd.log\n" * node.CRASHES

    assert node.crashing(story) == "containerd"


def test_a_component_that_ended_once_is_given_time():
    assert node.crashing("kubelet ended with 1, see log/kubelet.log\n") == ""


def test_a_newly_loaded_image_restarts_the_deployments_that_run_it():
    def deployment(name: str, image: str) -> dict[str, Any]:
        template = {"spec": {"containers": [{"image": image}]}}
        return {"metadata": {"name": name, "namespace": "n"}, "spec": {"template": template}}

    running = [deployment("ours", "backup-operator:dev"), deployment("other", "backup-operator:1.0")]

    assert images.users_of({"backup-operator:dev"}, running) == [("--namespace=n", "deployment/ours")]
