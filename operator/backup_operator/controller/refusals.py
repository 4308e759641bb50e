"""Room `controller`: which refusals of the API server stand, and which heal; called by `policies` and `restores`."""

from backup_operator.controller.cluster import Refused

_NAMESPACE_GOES = "because it is being terminated"
"""The API server's words; the object itself is gone a moment later."""
_STANDS = ("unable to convert", "failed calling webhook")
"""The API server's words where it answers 500 for what stays until somebody mends it: a value that it cannot read, an
admission webhook that does not answer."""


def raise_if_it_heals(exc: Refused) -> None:
    """Raises: the refusal, when it says nothing about our object: overload, a fault, or a namespace on its way out."""
    if any(words in str(exc) for words in _STANDS):
        return
    if exc.status >= 500 or exc.status == 429 or _NAMESPACE_GOES in str(exc):
        raise exc
