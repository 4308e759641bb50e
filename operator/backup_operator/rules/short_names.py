"""Room `rules`: names that fit into what Kubernetes allows; pure. Called by `.claims` and by `manifests`."""

import hashlib

_HASH_LENGTH = 8


def short_name(name: str, limit: int) -> str:
    """The name itself where it fits, else its beginning and a hash of the whole, `limit` characters at most."""
    if len(name) <= limit:
        return name
    return f"{name[: limit - _HASH_LENGTH - 1].rstrip('-.')}-{digest(name)}"


def digest(text: str) -> str:
    """Eight hexadecimal characters of SHA-256: to tell names apart, no protection."""
    return hashlib.sha256(text.encode()).hexdigest()[:_HASH_LENGTH]
