"""Where the test cluster keeps its files: `.cluster` in the checkout, and a cache. Used by every module here."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]
SOURCES = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Places:
    """The directories of one checkout; nothing here exists until somebody makes it."""

    checkout: Path
    cache: Path
    """Programs and the Docker daemon's images; shared by all checkouts of one user, kept by `make down`."""

    @property
    def cluster(self) -> Path:
        """Everything that belongs to the running cluster; `make down` deletes it."""
        return self.checkout / ".cluster"

    @property
    def kubeconfig(self) -> Path:
        """The only thing that tests know of a cluster."""
        return self.cluster / "kubeconfig"

    @property
    def bin(self) -> Path:
        """Links to kubectl and helm, where the machine has none."""
        return self.cluster / "bin"

    @property
    def kubectl_cache(self) -> Path:
        """What kubectl remembers of the API; in the home it would outlive the cluster and mislead the next one."""
        return self.cluster / "kubectl-cache"

    @property
    def node(self) -> Path:
        """The state of the node of our own."""
        return self.cluster / "node"

    @property
    def name(self) -> str:
        """A name that no other checkout on this machine has."""
        return f"backup-operator-{digest([str(self.checkout)])[:8]}"

    def read_state(self) -> dict[str, Any]:
        """What `up` wrote down about the running cluster; empty when there is none."""
        try:
            return dict(json.loads((self.cluster / "state.json").read_text()))
        except FileNotFoundError:
            return {}

    def write_state(self, state: Mapping[str, Any]) -> None:
        """Replaces the state as a whole, so that a reader never sees half of it."""
        self.cluster.mkdir(exist_ok=True)
        fresh = self.cluster / "state.json.fresh"
        fresh.write_text(json.dumps(state, indent=1))
        fresh.replace(self.cluster / "state.json")


def places_of(checkout: Path, environment: Mapping[str, str]) -> Places:
    """The places of a checkout; the cache follows XDG_CACHE_HOME."""
    home = environment.get("XDG_CACHE_HOME") or str(Path(environment.get("HOME") or "/root") / ".cache")
    return Places(checkout=checkout, cache=Path(home) / "backup-operator")


def here() -> Places:
    """The places of the checkout that this file lies in."""
    return places_of(CHECKOUT, os.environ)


def digest(words: Iterable[str | bytes]) -> str:
    """SHA-256 in hex over the words; each is prefixed by its length, so that no two lists collide by concatenation."""
    total = hashlib.sha256()
    for word in words:
        raw = word.encode() if isinstance(word, str) else word
        total.update(len(raw).to_bytes(8, "big") + raw)
    return total.hexdigest()


def digest_of_tree(root: Path) -> str:
    """SHA-256 over the names and contents of all files below `root`."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return digest(part for path in files for part in (str(path.relative_to(root)), path.read_bytes()))
