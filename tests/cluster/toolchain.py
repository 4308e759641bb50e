"""A Go compiler that is new enough: the machine's own, or the one that the Go module proxy hands out. Used by programs.

Debian 12 has Go 1.19, which cannot fetch a newer self; the toolchain is an ordinary module: no Go is needed to get it.
Source: https://go.dev/doc/toolchain and https://go.dev/ref/mod#zip-files
"""

import base64
import hashlib
import os
import platform
import re
import shutil
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

from tests.cluster.commands import Progress, output, say
from tests.cluster.errors import CommandFailed, MachineLacks
from tests.cluster.places import Places

OLDEST = (1, 25)
"""What the go.mod files ask for."""
VERSION = "go1.26.8"
SUMS = {
    "amd64": "h1:ZOmGe1OnfREDMIdb1Qi4G9JSuDPBLGExZMQ4nis1RXM=",
    "arm64": "h1:sYL/O6MqS68ML0kjsQ36WoYIpJqkw60TxizWUYUKQMc=",
}
"""As in the Go checksum database."""


def go_architecture(machine: str) -> str:
    """Go's name for a machine type. Raises MachineLacks for one without a toolchain here."""
    names = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
    if machine not in names:
        raise MachineLacks(f"no Go toolchain is known for {machine}", hint="use an x86-64 or arm64 machine, or kind")
    return names[machine]


def version_in(text: str) -> tuple[int, int]:
    """Major and minor out of `go version`; zeros when there are none."""
    found = re.search(r"\bgo(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def go_command(places: Places) -> str:
    """Path of a Go that builds the node's programs, fetched into the cache when the machine has none."""
    own = shutil.which("go")
    if own and _version_of(own) >= OLDEST:
        return own
    root = places.cache / f"toolchain-{VERSION}"
    if not root.exists():
        wanted = ".".join(map(str, OLDEST))
        say(f"Go {wanted} or newer is not here; taking {VERSION} from the Go module proxy (about 70 MB)")
        _fetch(root)
    return str(root / "bin" / "go")


def _version_of(go: str) -> tuple[int, int]:
    try:
        # GOTOOLCHAIN=local: the question is what is here, not what could be downloaded
        return version_in(output([go, "version"], environment=dict(os.environ, GOTOOLCHAIN="local")))
    except CommandFailed:
        return (0, 0)


def proxy_of(value: str) -> str:
    """The first HTTP proxy in a GOPROXY value. Raises: MachineLacks when it names none."""
    for word in re.split(r"[,|]", value):
        if word.startswith(("http://", "https://")):
            return word.rstrip("/")
    raise MachineLacks(
        f"no Go module proxy is known: GOPROXY is {value!r}",
        hint="apt-get install golang-go (its own setting is taken then), or set GOPROXY",
    )


def _known_proxies() -> str:
    """The environment's GOPROXY, or what an older Go has by itself."""
    value, own = os.environ.get("GOPROXY", ""), shutil.which("go")
    return value or (output([own, "env", "GOPROXY"]).strip() if own else "")


def _fetch(root: Path) -> None:
    architecture = go_architecture(platform.machine())
    name = f"v0.0.1-{VERSION}.linux-{architecture}"
    url = f"{proxy_of(_known_proxies())}/golang.org/toolchain/@v/{name}.zip"
    fresh = root.with_name(f"{root.name}.{os.getpid()}")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    archive = fresh / "toolchain.zip"
    try:
        _download(url, archive)
        if module_sum(archive) != SUMS[architecture]:
            raise MachineLacks(f"{url} is not the toolchain that was expected", hint="install Go 1.25 or newer")
        _unpack(archive, fresh, f"golang.org/toolchain@{name}/")
        archive.unlink()
        fresh.rename(root)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _download(url: str, target: Path) -> None:
    try:
        with (
            Progress("downloading Go") as progress,
            urllib.request.urlopen(url, timeout=60) as source,
            target.open("wb") as sink,
        ):
            while chunk := source.read(1 << 20):
                sink.write(chunk)
                progress.tick(0)
    except (urllib.error.URLError, TimeoutError) as exc:
        raise MachineLacks(f"{url} cannot be reached", detail=str(exc), hint="install Go 1.25 or newer") from exc


def module_sum(archive: Path) -> str:
    """The `h1:` sum of a module zip: SHA-256 over the sorted list of its files' SHA-256.

    Source: https://pkg.go.dev/golang.org/x/mod/sumdb/dirhash#Hash1
    """
    total = hashlib.sha256()
    with zipfile.ZipFile(archive) as opened:
        for name in sorted(opened.namelist()):
            total.update(f"{hashlib.sha256(opened.read(name)).hexdigest()}  {name}\n".encode())
    return "h1:" + base64.b64encode(total.digest()).decode()


def _unpack(archive: Path, target: Path, prefix: str) -> None:
    with zipfile.ZipFile(archive) as opened:
        for name in opened.namelist():
            inner = name.removeprefix(prefix)
            path = target / inner
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(opened.read(name))
            if inner.startswith(("bin/", "pkg/tool/")):  # module zips carry no modes
                path.chmod(0o755)
