"""The node's certificate authority, and a certificate and kubeconfig for every component. Used by node.

Source: https://kubernetes.io/docs/setup/best-practices/certificates/
"""

import base64
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.commands import output

DAYS = "3650"
CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
CLIENT = "extendedKeyUsage=clientAuth"
SERVICE_ADDRESS = "10.96.0.1"


@dataclass(frozen=True)
class Identity:
    """One certificate: who it speaks for and what it may be used for."""

    name: str
    subject: str
    extension: str
    kubeconfig: bool = False


def identities(address: str, node: str) -> list[Identity]:
    """Every certificate of a node at `address`."""
    service = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
    names = [f"DNS:{name}" for name in (*service, "localhost")]
    numbers = [f"IP:{number}" for number in ("127.0.0.1", SERVICE_ADDRESS, address)]
    return [
        Identity("apiserver", "/CN=kube-apiserver", f"subjectAltName={','.join(names + numbers)}"),
        Identity("kubelet-server", f"/CN={node}", f"subjectAltName=DNS:{node},IP:{address}"),
        Identity("apiserver-kubelet", "/O=system:masters/CN=kube-apiserver-kubelet-client", CLIENT),
        Identity("admin", "/O=system:masters/CN=kubernetes-admin", CLIENT, kubeconfig=True),
        Identity("controllers", "/CN=system:kube-controller-manager", CLIENT, kubeconfig=True),
        Identity("scheduler", "/CN=system:kube-scheduler", CLIENT, kubeconfig=True),
        Identity("proxy", "/CN=system:kube-proxy", CLIENT, kubeconfig=True),
        Identity("kubelet", f"/O=system:nodes/CN=system:node:{node}", CLIENT, kubeconfig=True),
    ]


def make_all(directory: Path, address: str, node: str) -> None:
    """Fills the directory with keys, certificates and kubeconfigs (`<name>.conf`)."""
    directory.mkdir(parents=True, mode=0o700)
    for authority in ("ca", "front-proxy"):
        _authority(directory / authority)
    key = str(directory / "service-account.key")
    output(["openssl", "genrsa", "-out", key, "2048"])
    output(["openssl", "rsa", "-in", key, "-pubout", "-out", str(directory / "service-account.pub")])
    for identity in identities(address, node):
        _certificate(directory, identity)
        if identity.kubeconfig:
            (directory / f"{identity.name}.conf").write_text(_kubeconfig_of(directory, identity.name, address))


def _authority(path: Path) -> None:
    files = ["-keyout", f"{path}.key", "-out", f"{path}.crt"]
    output(["openssl", "req", "-x509", *CURVE, *files, "-subj", f"/CN={path.name}", "-days", DAYS])


def _certificate(directory: Path, identity: Identity) -> None:
    stem = directory / identity.name
    request, extension = stem.with_suffix(".csr"), stem.with_suffix(".ext")
    extension.write_text(identity.extension + "\n")
    output(["openssl", "req", *CURVE, "-keyout", f"{stem}.key", "-out", str(request), "-subj", identity.subject])
    authority = ["-CA", str(directory / "ca.crt"), "-CAkey", str(directory / "ca.key"), "-CAcreateserial"]
    files = ["-in", str(request), "-out", f"{stem}.crt", "-extfile", str(extension)]
    output(["openssl", "x509", "-req", *files, *authority, "-days", DAYS])
    request.unlink()
    extension.unlink()


def _kubeconfig_of(directory: Path, name: str, address: str) -> str:
    parts = [(directory / file).read_bytes() for file in ("ca.crt", f"{name}.crt", f"{name}.key")]
    return kubeconfig(f"https://{address}:6443", name, *parts)


def kubeconfig(server: str, user: str, authority: bytes, certificate: bytes, key: bytes) -> str:
    """A kubeconfig with everything inside it; the PEM blocks come as they are in the files."""
    ca, crt, private = (base64.b64encode(part).decode() for part in (authority, certificate, key))
    return f"""apiVersion: v1
kind: Config
clusters:
- name: node
  cluster: {{server: "{server}", certificate-authority-data: {ca}}}
users:
- name: {user}
  user: {{client-certificate-data: {crt}, client-key-data: {private}}}
contexts:
- name: node
  context: {{cluster: node, user: {user}}}
current-context: node
"""
