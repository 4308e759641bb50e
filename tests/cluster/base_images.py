"""The images that others are built from: Debian's, pulled or made here, and pause. Used by images and `__main__`."""

import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.cluster.commands import output, run_long, say, succeeds
from tests.cluster.docker import Docker
from tests.cluster.errors import MachineLacks
from tests.cluster.locks import exclusive
from tests.cluster.places import Places, digest
from tests.cluster.programs import PAUSE, directory_of
from tests.cluster.settings import PAUSE_IMAGE

SUITE = "trixie"
PUBLISHED = f"debian:{SUITE}-slim"
SOURCES = f"""Types: deb
URIs: {{mirror}}
Suites: {SUITE} {SUITE}-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: {{mirror}}-security
Suites: {SUITE}-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""
APT_SETTINGS = """APT::Keep-Downloaded-Packages "false";
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb || true"; };
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
"""
"""Both as in the published image."""
HOME_MADE = f"localhost/backup-operator-base:{SUITE}-{digest([SOURCES, APT_SETTINGS])[:8]}"


def debian(places: Places, docker: Docker) -> str:
    """Name of a Debian base image in the daemon. Raises MachineLacks when it can be neither pulled nor made."""
    for name in (PUBLISHED, HOME_MADE):
        if docker.has_image(name):
            return name
    if succeeds(["docker", "pull", PUBLISHED], environment=docker.environment, timeout_seconds=300):
        return PUBLISHED
    if shutil.which("debootstrap") is None:
        raise MachineLacks(
            f"{PUBLISHED} cannot be pulled", hint="docker pull debian:trixie-slim, or apt-get install debootstrap"
        )
    say(f"{PUBLISHED} cannot be pulled; making the same out of Debian packages")
    with exclusive(places.cache / "base-image.lock", doing="making the base image"):
        if not docker.has_image(HOME_MADE):
            _make(places, docker)
    return HOME_MADE


def _make(places: Places, docker: Docker) -> None:
    with tempfile.TemporaryDirectory(dir=places.cache) as work:
        root, log = Path(work) / "root", places.cache / "log" / "debootstrap.log"
        include = "--include=ca-certificates"
        run_long(
            f"bootstrapping Debian {SUITE}",
            ["debootstrap", "--variant=minbase", include, SUITE, str(root)],
            log=log,
        )
        _list_sources(root)
        (root / "etc/apt/apt.conf.d/docker-clean").write_text(APT_SETTINGS)
        _trust_the_machines_authorities(root)
        _drop_what_slim_has_not(root)
        _import(root, docker)


def _list_sources(root: Path) -> None:
    """The published image's list, with the mirror that debootstrap takes by itself."""
    own = root / "etc/apt/sources.list"
    mirror = own.read_text().split()[1]
    own.unlink()
    (root / "etc/apt/sources.list.d/debian.sources").write_text(SOURCES.format(mirror=mirror.rstrip("/")))


def _trust_the_machines_authorities(root: Path) -> None:
    # a machine behind an intercepting proxy trusts more than Debian does; apt and pip inside must do so too
    own = Path("/usr/local/share/ca-certificates")
    for certificate in own.glob("*.crt"):
        shutil.copy(certificate, root / own.relative_to("/") / certificate.name)
    output(["chroot", str(root), "update-ca-certificates"])


def _drop_what_slim_has_not(root: Path) -> None:
    for place in ("usr/share/doc", "usr/share/man", "usr/share/locale", "var/lib/apt/lists", "var/cache/apt/archives"):
        shutil.rmtree(root / place, ignore_errors=True)
    (root / "var/lib/apt/lists").mkdir()
    (root / "var/cache/apt/archives/partial").mkdir(parents=True)


def _import(root: Path, docker: Docker) -> None:
    with subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE) as packing:
        words = ["docker", "import", "--change", 'CMD ["bash"]', "-", HOME_MADE]
        subprocess.run(words, stdin=packing.stdout, env=docker.environment, check=True, stdout=subprocess.DEVNULL)
    if packing.returncode != 0:
        docker.output("image", "rm", HOME_MADE)
        raise MachineLacks("the base image could not be packed", hint="is the disk full?")


PAUSE_DOCKERFILE = """FROM scratch
COPY pause /pause
COPY busybox /bin/sh
COPY busybox /bin/mkdir
COPY busybox /bin/rm
ENTRYPOINT ["/pause"]
"""
"""The volume provisioner runs its scripts in this image too, hence a shell and two tools."""


def pause_archive(places: Places, docker: Docker) -> Path:
    """A `docker save` archive of the node's pause image, made once per digest of what is in it."""
    files = [directory_of(places, PAUSE) / "pause", Path("/bin/busybox")]
    key = digest([PAUSE_DOCKERFILE, PAUSE_IMAGE, *(file.read_bytes() for file in files)])[:16]
    archive = places.cache / "programs" / f"pause-image-{key}.tar"
    if archive.exists():
        return archive
    with tempfile.TemporaryDirectory() as context:
        for file in files:
            shutil.copy(file, context)
        Path(context, "Dockerfile").write_text(PAUSE_DOCKERFILE)
        docker.output("build", "--quiet", "--tag", PAUSE_IMAGE, context)
    fresh = archive.with_suffix(".fresh")
    docker.output("save", PAUSE_IMAGE, "--output", str(fresh))
    return fresh.rename(archive)
