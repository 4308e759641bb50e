"""What the node's components are told, and what is read out of their surroundings."""

import base64
import json
from pathlib import Path

import pytest
import yaml

from tests.cluster import certificates, cgroups, components, settings
from tests.cluster.addresses import Addresses

HERE = Addresses(3)


def test_every_settings_file_is_well_formed():
    assert json.loads(settings.pod_network())["plugins"][0]["ipam"]["ranges"] == [[{"subnet": "10.244.0.0/16"}]]
    assert yaml.safe_load(settings.kubelet(HERE.node, HERE.cgroup))["clusterDNS"] == ["10.200.3.2"]


def test_kubelet_keeps_its_pods_in_the_nodes_own_cgroup():
    kubelet = yaml.safe_load(settings.kubelet(HERE.node, HERE.cgroup))

    assert (kubelet["cgroupRoot"], kubelet["failCgroupV1"]) == ("/bo-node3", False)


def test_names_outside_of_the_cluster_do_not_exist():
    zones = settings.corefile(HERE.node)

    assert "rcode NXDOMAIN" in zones.split("\n. {")[1]
    assert "forward" not in zones


def test_the_default_storage_class_is_the_one_that_kind_has():
    items = json.loads(settings.storage_manifests())["items"]
    storage_class = next(item for item in items if item["kind"] == "StorageClass")

    assert storage_class["metadata"]["name"] == "standard"
    assert storage_class["provisioner"] == "rancher.io/local-path"
    assert storage_class["metadata"]["annotations"] == {
        "storageclass.kubernetes.io/is-default-class": "true",
        "defaultVolumeType": "local",
    }


def test_controllers_start_after_the_api_server():
    below = [component.name for component in components.foundation(HERE)]
    above = [component.name for component in components.upper_storey(HERE)]

    assert below == ["containerd", "etcd", "kube-apiserver"]
    assert above == ["kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet", "coredns"]


def test_no_command_line_depends_on_where_the_checkout_lies():
    checkout = str(Path(__file__).resolve().parents[3])
    every = [*components.foundation(HERE), *components.upper_storey(HERE), components.provisioner()]

    assert not [component.name for component in every if checkout in " ".join(component.argv)]


def test_the_api_servers_certificate_speaks_for_every_name_that_it_is_called_by():
    identity = next(one for one in certificates.identities(HERE.node, "node-1") if one.name == "apiserver")

    for name in ("DNS:kubernetes.default.svc", "IP:127.0.0.1", "IP:10.96.0.1", "IP:10.200.3.2"):
        assert name in identity.extension.removeprefix("subjectAltName=").split(",")


def test_a_kubeconfig_carries_everything_in_itself():
    config = yaml.safe_load(certificates.kubeconfig("https://10.200.3.2:6443", "admin", b"ca", b"crt", b"key"))

    assert config["clusters"][0]["cluster"] == {
        "server": "https://10.200.3.2:6443",
        "certificate-authority-data": base64.b64encode(b"ca").decode(),
    }
    assert config["users"][0]["user"]["client-key-data"] == base64.b64encode(b"key").decode()
    assert config["current-context"] == config["contexts"][0]["name"]


@pytest.mark.parametrize(
    ("mounts", "expected"),
    [
        pytest.param(
            "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n", [("cgroup2", Path("/sys/fs/cgroup"))], id="version 2 alone"
        ),
        pytest.param(
            "tmpfs /sys/fs/cgroup tmpfs rw 0 0\n"
            "cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n"
            "cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n"
            "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n",
            [("cgroup", Path("/sys/fs/cgroup/memory")), ("cgroup2", Path("/sys/fs/cgroup/unified"))],
            id="both, one mounted twice",
        ),
        pytest.param("proc /proc proc rw 0 0\n", [], id="none"),
    ],
)
def test_control_group_hierarchies_are_read_from_the_mounts(mounts: str, expected: list[tuple[str, Path]]):
    assert cgroups.hierarchies(mounts) == expected
