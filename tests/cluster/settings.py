"""The configuration files of the node's components, as text. Pure; used by init, which writes them where the paths say.

Inside the node its state directory is mounted at STATE, so no path here depends on where the checkout lies: unix
sockets below it stay within the 108 characters that the kernel allows.
"""

import json

STATE = "/run/node"
PKI = f"{STATE}/pki"
NODE = "node-1"
POD_NETWORK = "10.244.0.0/16"
SERVICE_NETWORK = "10.96.0.0/16"
PAUSE_IMAGE = "localhost/pause:1"
CONTAINERD_SOCKET = "/run/containerd/containerd.sock"


def pod_network() -> str:
    """A bridge with host-local addresses and host ports; what kind's own network does, without a daemon."""
    addresses = {
        "type": "host-local",
        "ranges": [[{"subnet": POD_NETWORK}]],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": f"{STATE}/cni/addresses",
    }
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipMasq": True,
        "hairpinMode": True,
        "ipam": addresses,
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return json.dumps({"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge, ports]})


def containerd() -> str:
    """`restrict_oom_score_adj`: a machine without CAP_SYS_RESOURCE may not lower a score below its own."""
    return f"""version = 2
root = "{STATE}/containerd"
state = "/run/containerd"
[grpc]
  address = "{CONTAINERD_SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{STATE}/cni"
[plugins."io.containerd.internal.v1.opt"]
  path = "{STATE}/containerd/opt"
"""


def kubelet(address: str, cgroup: str) -> str:
    """`failCgroupV1: false`: 1.35 refuses cgroup v1 otherwise. Images are never collected: nothing could pull them."""
    return f"""apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {{anonymous: {{enabled: false}}, webhook: {{enabled: true}}, x509: {{clientCAFile: {PKI}/ca.crt}}}}
authorization: {{mode: Webhook}}
tlsCertFile: {PKI}/kubelet-server.crt
tlsPrivateKeyFile: {PKI}/kubelet-server.key
cgroupDriver: cgroupfs
cgroupRoot: /{cgroup}
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0
containerRuntimeEndpoint: unix://{CONTAINERD_SOCKET}
clusterDNS: [{address}]
clusterDomain: cluster.local
resolvConf: {STATE}/resolv.conf
podLogsDir: {STATE}/pods
volumePluginDir: {STATE}/volume-plugins
localStorageCapacityIsolation: false
imageGCHighThresholdPercent: 100
evictionHard: {{memory.available: 100Mi}}
nodeStatusUpdateFrequency: 4s
"""


def corefile(address: str) -> str:
    """Names of the cluster are answered, every other one does not exist: pods reach nothing outside."""
    return f"""cluster.local 10.in-addr.arpa {{
  bind {address}
  errors
  kubernetes cluster.local 10.in-addr.arpa {{
    kubeconfig {PKI}/admin.conf
    pods verified
    ttl 5
  }}
}}
. {{
  bind {address}
  template ANY ANY {{
    rcode NXDOMAIN
  }}
}}
"""


def provisioner() -> dict[str, str]:
    """The files of the local-path provisioner's ConfigMap."""
    volumes = {"nodePathMap": [{"node": "DEFAULT_PATH_FOR_NON_LISTED_NODES", "paths": [f"{STATE}/volumes"]}]}
    container = {"name": "helper-pod", "image": PAUSE_IMAGE, "imagePullPolicy": "IfNotPresent"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "helper-pod"}, "spec": {"containers": [container]}}
    return {
        "config.json": json.dumps(volumes),
        "setup": '#!/bin/sh\nset -eu\nmkdir -m 0777 -p "$VOL_DIR"\n',
        "teardown": '#!/bin/sh\nset -eu\nrm -rf "$VOL_DIR"\n',
        "helperPod.yaml": json.dumps(pod),
    }


def storage_manifests() -> str:
    """The provisioner's namespace and the default class, by the same names as kind's; YAML is a superset of this JSON.

    `defaultVolumeType: local`: a hostPath volume would ignore fsGroup.
    """
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "local-path-storage"}}
    place = {"name": "local-path-config", "namespace": "local-path-storage"}
    settings = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": place, "data": provisioner()}
    notes = {"storageclass.kubernetes.io/is-default-class": "true", "defaultVolumeType": "local"}
    storage_class = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "standard", "annotations": notes},
        "provisioner": "rancher.io/local-path",
        "volumeBindingMode": "WaitForFirstConsumer",
    }
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": [namespace, settings, storage_class]})
