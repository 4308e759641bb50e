"""Room `worker.store`: the record of a run and its authentication; made by `worker.backup`, read by `store.catalog`.

On the volume an entry is a JSON object with one more member, `authentication`: an HMAC-SHA256 over all other members
in canonical form (sorted, no spaces, ASCII), under a key derived from the passphrase and a salt that the entries of one
store share. What a newer version added is authenticated and tolerated; a newer `format_version` is refused.
"""

import hmac
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, JsonValue, ValidationError

from backup_operator.vocabulary.choices import ArtifactKind, Compression, SourceKind
from backup_operator.worker.errors import KeyInvalid, VerificationFailed

FORMAT_VERSION: Final = 1
SALT_BYTES: Final = 16
_AUTHENTICATION = "authentication"
_ALGORITHM = "HMAC-SHA256"
_MAC_PURPOSE = b"entry"
_FINGERPRINT_PURPOSE = b"fingerprint"

KeyDeriver = Callable[[bytes], bytes]
"""A passphrase's slow step: from a salt to a key."""


def _writable(value: Any) -> Any:
    """The same with every text in valid Unicode: a server may hold names that are none."""
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace").decode()
        case Mapping():
            return {_writable(key): _writable(member) for key, member in value.items()}
        case list() | tuple():
            return [_writable(member) for member in value]
    return value


Facts = Annotated[dict[str, JsonValue], BeforeValidator(_writable)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", from_attributes=True)


class KeyTally(_Record):
    """Keys of one Redis database, and how many of them have a time to live."""

    keys: int
    expiring: int


class ArtifactRecord(_Record):
    """One stored file: sizes in bytes, SHA-256 in hexadecimal."""

    name: str
    kind: ArtifactKind
    compression: Compression
    stored_bytes: int
    stored_sha256: str
    plain_bytes: int
    plain_sha256: str
    rows_per_table: Annotated[dict[str, int] | None, BeforeValidator(_writable)] = None
    """As counted in the dump stream; None where rows are not counted."""
    keys_per_database: dict[int, KeyTally] | None = None
    details: Facts = {}
    dump_seconds: float = 0
    verify_seconds: float = 0

    @property
    def rows(self) -> int | None:
        """All rows, or None where rows are not counted."""
        return None if self.rows_per_table is None else sum(self.rows_per_table.values())

    @property
    def keys(self) -> int | None:
        """All keys, or None where keys are not counted."""
        return None if self.keys_per_database is None else sum(tally.keys for tally in self.keys_per_database.values())


class PolicyRecord(_Record):
    """Whose run it was."""

    namespace: str
    name: str
    spec_digest: str


class PlausibilityRecord(_Record):
    """How the run looked beside those before it, some of which retention removes later."""

    in_line: bool
    """False where there was nothing to compare it with, too."""
    out_since: str = ""
    """Where it was out of line: the first run in a row that was; retention may have deleted that one since."""
    accepted_run: str = ""
    """The run from which on it was compared, as a person had accepted a change; empty for all."""


class Entry(_Record):
    """The record of a run."""

    format_version: int = FORMAT_VERSION
    run: str
    kind: SourceKind
    policy: PolicyRecord
    started_at: AwareDatetime
    completed_at: AwareDatetime
    verified: bool
    """Every artifact was read back from the volume, decrypted, and found whole."""
    artifacts: tuple[ArtifactRecord, ...]
    server: Facts = {}
    """For example version, database, encoding, extensions, roles."""
    client: Facts = {}
    """Tool and version that dumped."""
    encrypted_connection: bool
    worker_version: str
    warnings: Annotated[tuple[str, ...], BeforeValidator(_writable)] = ()
    plausibility: PlausibilityRecord | None = None
    """None: nobody has looked."""
    others_bytes: int | None = None
    """What others took on the volume just before the commit: its use without this store; None: nobody has looked."""
    key_fingerprint: str = ""
    """Tells passphrases of one store apart; set when the entry is sealed."""

    @property
    def stored_bytes(self) -> int:
        """Stored size of all artifacts."""
        return sum(artifact.stored_bytes for artifact in self.artifacts)

    @property
    def plain_bytes(self) -> int:
        """Size of all artifacts unpacked."""
        return sum(artifact.plain_bytes for artifact in self.artifacts)

    @property
    def rows(self) -> int | None:
        """All rows of all artifacts, or None where none counts rows."""
        return _sum(artifact.rows for artifact in self.artifacts)

    @property
    def keys(self) -> int | None:
        """All keys of all artifacts, or None where none counts keys."""
        return _sum(artifact.keys for artifact in self.artifacts)


class EntryKeys:
    """The keys that entries are authenticated with; each is derived once per salt, as deriving is slow on purpose."""

    def __init__(
        self, derivers: Sequence[KeyDeriver], *, described: Sequence[str] = (), missing: Sequence[str] = ()
    ) -> None:
        """One deriver per passphrase (and reading of it), the one to write with first.

        `described` says in the same order where each comes from, `missing` which ones could not be had, in sentences.
        """
        self._derivers = tuple(derivers)
        self._described = tuple(described)
        self._missing = tuple(missing)
        self._derived: dict[tuple[int, bytes], bytes] = {}

    def for_writing(self, salt: bytes) -> bytes:
        """The key of the first passphrase. Raises: KeyInvalid when there is none."""
        if not self._derivers:
            raise KeyInvalid("an entry cannot be authenticated without a passphrase")
        return self._key(0, salt)

    def fitting(self, salt: bytes, key_fingerprint: str) -> bytes | None:
        """The key of that fingerprint, or None when none of the passphrases fits."""
        for number in range(len(self._derivers)):
            key = self._key(number, salt)
            if hmac.compare_digest(fingerprint_of(key).encode(), key_fingerprint.encode(errors="replace")):
                return key
        return None

    def number_of(self, key_fingerprint: str) -> int | None:
        """Which of the passphrases, counted from 0, has opened an entry with this fingerprint."""
        for (number, _), key in self._derived.items():
            if fingerprint_of(key) == key_fingerprint:
                return number
        return None

    def offered(self, salt: bytes) -> str:
        """The fingerprints that our passphrases have with this salt, and what is missing, in words."""
        first_of = {described: number for number, described in reversed(list(enumerate(self._described)))}
        known = [
            f"{fingerprint_of(self._key(number, salt))} of {described}"
            for described, number in sorted(first_of.items(), key=lambda item: item[1])
        ]
        offered = f"offered: {', '.join(known)}" if known else f"none of the {len(self._derivers)} given ones has it"
        return "; ".join([offered, *self._missing])

    def _key(self, number: int, salt: bytes) -> bytes:
        if (number, salt) not in self._derived:
            self._derived[number, salt] = self._derivers[number](salt)
        return self._derived[number, salt]


def new_salt() -> bytes:
    """A salt for a store without entries."""
    return secrets.token_bytes(SALT_BYTES)


def fingerprint_of(key: bytes) -> str:
    """16 hexadecimal digits that tell a derived key from another."""
    return hmac.digest(key, _FINGERPRINT_PURPOSE, "sha256")[:8].hex()


def seal_entry(entry: Entry, keys: EntryKeys, salt: bytes) -> bytes:
    """The entry as it lies on the volume, authenticated under the first passphrase."""
    key = keys.for_writing(salt)
    members = entry.model_copy(update={"key_fingerprint": fingerprint_of(key)}).model_dump(mode="json")
    seal = {"algorithm": _ALGORITHM, "salt": salt.hex(), "mac": _mac(key, members)}
    return json.dumps({**members, _AUTHENTICATION: seal}, indent=1).encode() + b"\n"


def open_entry(content: bytes, keys: EntryKeys, name: str) -> Entry:
    """The entry in a file called `name`, authenticated.

    Raises:
        KeyInvalid: written under a passphrase that we were not given.
        VerificationFailed: forged, damaged, of another run, or of a newer format.
    """
    members = _members(content, name)
    _require_known_format(members, name)
    seal = members.pop(_AUTHENTICATION, None)
    _authenticate(members, seal, keys, name)
    try:
        entry = Entry.model_validate_json(json.dumps(members))
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False)[0]
        raise _refused(name, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from exc
    if name != f"{entry.run}.json":
        raise _refused(name, f"it is the entry of {entry.run} under another name")
    return entry


def salt_of(content: bytes) -> bytes | None:
    """The salt of a stored entry, not authenticated; None where there is none to be found."""
    try:
        salt = bytes.fromhex(json.loads(content)[_AUTHENTICATION]["salt"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return salt if len(salt) == SALT_BYTES else None


def _authenticate(members: Mapping[str, Any], seal: Any, keys: EntryKeys, name: str) -> None:
    try:
        salt, mac = bytes.fromhex(seal["salt"]), str(seal["mac"])
        key_fingerprint = str(members["key_fingerprint"])
    except (KeyError, TypeError, ValueError) as exc:
        raise _refused(name, "it carries no authentication") from exc
    if seal.get("algorithm") != _ALGORITHM or len(salt) != SALT_BYTES:
        raise _refused(name, f"it is authenticated in a way that this worker does not know: {seal.get('algorithm')!r}")
    key = keys.fitting(salt, key_fingerprint)
    if key is None:
        raise _other_passphrase(name, key_fingerprint, keys.offered(salt))
    if not hmac.compare_digest(_mac(key, members).encode(), mac.encode(errors="replace")):
        raise _refused(name, "its content is not what was written: the authentication does not fit")


def _mac(key: bytes, members: Mapping[str, Any]) -> str:
    canonical = json.dumps(members, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    purpose = hmac.digest(key, _MAC_PURPOSE, "sha256")
    return hmac.digest(purpose, canonical.encode("ascii"), "sha256").hex()


def _members(content: bytes, name: str) -> dict[str, Any]:
    try:
        members = json.loads(content, object_pairs_hook=_without_doubles)
    except (ValueError, RecursionError) as exc:
        raise _refused(name, f"it is no JSON: {exc}") from exc
    if not isinstance(members, dict):
        raise _refused(name, "it is no JSON object")
    return members


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member occurs twice")
    return members


def _require_known_format(members: Mapping[str, Any], name: str) -> None:
    version = members.get("format_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise _refused(name, "it names no format version")
    if version > FORMAT_VERSION:
        error = VerificationFailed(
            f"the entry {name} was written by a newer version",
            detail=f"it has format {version}, this worker reads up to {FORMAT_VERSION}",
            hint="Use a worker image at least as new as the one that made the backup: `helm upgrade backup-operator`.",
        )
        error.retryable = False
        raise error


def _other_passphrase(name: str, key_fingerprint: str, offered: str) -> KeyInvalid:
    return KeyInvalid(
        f"the entry {name} was written under another passphrase",
        detail=f"its key has the fingerprint {key_fingerprint[:16]!r}; {offered}",
        hint=(
            "Was the passphrase changed? Name the Secret with the one from before in "
            "encryption.previousPassphraseSecretRefs (by hand: --passphrase-file once more)."
        ),
    )


def _refused(name: str, why: str) -> VerificationFailed:
    error = VerificationFailed(
        f"the entry {name} cannot be trusted",
        detail=why,
        hint="The artifacts may still be whole: open them by hand as RECOVER.md beside them tells.",
    )
    error.retryable = False
    return error


def _sum(counts: Any) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
