"""The command lines of the node's components, in the order in which they start. Pure; used by init."""

from dataclasses import dataclass

from tests.cluster.addresses import Addresses
from tests.cluster.settings import NODE, PKI, POD_NETWORK, SERVICE_NETWORK, STATE

ETCD = "http://127.0.0.1:2379"


@dataclass(frozen=True)
class Component:
    """One process of the node; it logs to `log/<name>.log` and is started again when it ends."""

    name: str
    argv: tuple[str, ...]


def foundation(addresses: Addresses) -> list[Component]:
    """What the API server needs, and itself."""
    return [
        Component("containerd", ("containerd", "-c", f"{STATE}/containerd.toml")),
        Component("etcd", _etcd()),
        Component("kube-apiserver", _apiserver(addresses.node)),
    ]


def upper_storey(addresses: Addresses) -> list[Component]:
    """What starts once the API server is ready: controllers exit when its RBAC bootstrap has not run."""
    return [
        Component("kube-controller-manager", _controllers()),
        Component("kube-scheduler", ("kube-scheduler", *_as("scheduler"), "--leader-elect=false")),
        Component("kube-proxy", _proxy()),
        Component("kubelet", _kubelet(addresses.node)),
        Component("coredns", ("coredns", "-conf", f"{STATE}/Corefile")),
    ]


def provisioner() -> Component:
    """Starts last, when its namespace and settings are there."""
    files = ("--config", f"{STATE}/provisioner.json", "--kubeconfig", f"{PKI}/admin.conf")
    names = ("--namespace", "local-path-storage", "--configmap-name", "local-path-config")
    account = ("--service-account-name", "default")
    return Component("local-path-provisioner", ("local-path-provisioner", "start", *files, *names, *account))


def _etcd() -> tuple[str, ...]:
    # without fsync: this database lives no longer than the test cluster
    urls = (f"--listen-client-urls={ETCD}", f"--advertise-client-urls={ETCD}")
    return ("etcd", f"--data-dir={STATE}/etcd", "--unsafe-no-fsync", *urls)


def _apiserver(address: str) -> tuple[str, ...]:
    return (
        "kube-apiserver",
        f"--etcd-servers={ETCD}",
        f"--advertise-address={address}",
        "--allow-privileged=true",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        f"--service-cluster-ip-range={SERVICE_NETWORK}",
        f"--client-ca-file={PKI}/ca.crt",
        f"--tls-cert-file={PKI}/apiserver.crt",
        f"--tls-private-key-file={PKI}/apiserver.key",
        f"--kubelet-client-certificate={PKI}/apiserver-kubelet.crt",
        f"--kubelet-client-key={PKI}/apiserver-kubelet.key",
        f"--kubelet-certificate-authority={PKI}/ca.crt",
        "--kubelet-preferred-address-types=InternalIP",
        f"--requestheader-client-ca-file={PKI}/front-proxy.crt",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={PKI}/service-account.pub",
        f"--service-account-signing-key-file={PKI}/service-account.key",
    )


def _as(name: str) -> tuple[str, ...]:
    flags = ("--kubeconfig", "--authentication-kubeconfig", "--authorization-kubeconfig")
    return tuple(f"{flag}={PKI}/{name}.conf" for flag in flags)


def _controllers() -> tuple[str, ...]:
    return (
        "kube-controller-manager",
        *_as("controllers"),
        "--leader-elect=false",
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={PKI}/service-account.key",
        f"--root-ca-file={PKI}/ca.crt",
        f"--cluster-signing-cert-file={PKI}/ca.crt",
        f"--cluster-signing-key-file={PKI}/ca.key",
        f"--flex-volume-plugin-dir={STATE}/volume-plugins",
    )


def _proxy() -> tuple[str, ...]:
    return (
        "kube-proxy",
        f"--kubeconfig={PKI}/proxy.conf",
        "--proxy-mode=iptables",
        f"--cluster-cidr={POD_NETWORK}",
        f"--hostname-override={NODE}",
        "--conntrack-max-per-core=0",
    )


def _kubelet(address: str) -> tuple[str, ...]:
    return (
        "kubelet",
        f"--config={STATE}/kubelet.yaml",
        f"--kubeconfig={PKI}/kubelet.conf",
        f"--root-dir={STATE}/kubelet",
        f"--hostname-override={NODE}",
        f"--node-ip={address}",
    )
