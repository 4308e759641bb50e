"""The node below the cluster, by a privileged pod on it: for a disk that is really full and an API server that is gone.

Works on kind and on the node of `tests.cluster` alike, since both run their programs where process 1 lives.
"""

from dataclasses import dataclass

from tests.support import objects
from tests.support.kubectl import Namespace

_MOUNTS = "/var/lib/backup-operator-e2e"
_CONTROL_PLANE = {
    "nodeAffinity": {
        "preferredDuringSchedulingIgnoredDuringExecution": [
            {
                "weight": 1,
                "preference": {
                    "matchExpressions": [{"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}]
                },
            }
        ]
    }
}
"""Where the API server runs, on a cluster of several nodes; a single node need not have the label."""


@dataclass(frozen=True)
class Node:
    """Runs programs on the node through a pod in the given namespace."""

    namespace: Namespace
    pod: str = "node"

    def start(self) -> None:
        """Start the pod and wait for it."""
        manifest = objects.pod(
            self.pod,
            {
                "command": ["sleep", "infinity"],
                "securityContext": {"privileged": True, "runAsUser": 0},
            },
        )
        manifest["spec"] |= {"hostPID": True, "tolerations": [{"operator": "Exists"}], "affinity": _CONTROL_PLANE}
        self.namespace.apply(manifest)
        self.namespace.wait_for_pod(self.pod)

    @property
    def name(self) -> str:
        """The node's name."""
        return str(self.namespace.get("pod", self.pod)["spec"]["nodeName"])

    def run(self, *argv: str) -> str:
        """A program of the node, in its mount namespace."""
        shell = self.namespace.shell(self.pod)
        return shell.run("nsenter", "--target", "1", "--mount", "--", *argv).decode()

    def mount_small_disk(self, volume: str, *, mebibytes: int) -> objects.Manifest:
        """A tmpfs on the node, and the PersistentVolume that leads to it."""
        path = self.disk_path(volume)
        self.run("mkdir", "-p", path)
        self.run("mount", "-t", "tmpfs", "-o", f"size={mebibytes}m,mode=0777", "tmpfs", path)
        affinity = {"key": "kubernetes.io/hostname", "operator": "In", "values": [self.name]}
        return {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": volume},
            "spec": {
                "capacity": {"storage": f"{mebibytes}Mi"},
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": volume,
                "persistentVolumeReclaimPolicy": "Retain",
                "local": {"path": path},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [affinity]}]}},
            },
        }

    def disk_path(self, volume: str) -> str:
        """Where the small disk is mounted on the node."""
        return f"{_MOUNTS}/{volume}"

    def unmount(self, volume: str) -> None:
        """Takes the small disk away, though a pod may still use it."""
        self.run("umount", "--lazy", self.disk_path(volume))
        self.run("rmdir", self.disk_path(volume))

    def keep_the_api_server_down(self, seconds: int) -> None:
        """Kills the API server, and every one that is started in its place, for that time; returns at once."""
        script = f"for n in $(seq {seconds * 5}); do pkill -KILL -x kube-apiserver; sleep 0.2; done"
        shell = self.namespace.shell(self.pod)
        shell.run("bash", "-c", f"setsid bash -c '{script}' >/dev/null 2>&1 </dev/null & disown")
