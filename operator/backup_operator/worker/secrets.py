"""Room `worker`: reads mounted secrets; called by the sources and by `worker.backup`.

A secret is a file of an optional Secret volume. One made with `kubectl create secret generic --from-env-file=.env`
keeps the quotes that the environment file had around its values: they are taken off here, and said.
"""

from pathlib import Path

from backup_operator.contract.order import SecretFile
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import SecretMissing, SourceError

_QUOTES = "\"'"


def read_secret(secret: SecretFile, *, if_no_text: Reason = Reason.URL_INVALID) -> tuple[str, tuple[str, ...]]:
    """The secret's text without trailing newlines and enclosing quotes, and warnings that say what was taken off.

    Raises: SecretMissing when the file is missing, unreadable or empty; SourceError with the reason `if_no_text`.
    """
    try:
        text = secret_path(secret).read_text(encoding="utf-8")
    except UnicodeDecodeError as exc:
        raise SourceError(
            if_no_text,
            f"{secret.described} is not UTF-8 text",
            detail=f"Its byte {exc.start} belongs to no character: a file of another encoding, or no text at all.",
            hint=secret.command,
        ) from exc
    except OSError as exc:
        raise _missing(secret, "cannot be read", detail=exc.strerror or "") from exc
    value, warnings = without_enclosing_quotes(text.strip("\r\n"), secret.described)
    if not value.strip():
        raise _missing(secret, "is empty")
    return value, warnings


def secret_path(secret: SecretFile) -> Path:
    """The file that the secret is mounted at. Raises: SecretMissing when it is not there."""
    path = Path(secret.path)
    if not path.is_file():
        raise _missing(secret, "is missing")
    return path


def without_enclosing_quotes(text: str, described: str) -> tuple[str, tuple[str, ...]]:
    """The text without one pair of quotes around all of it, and a warning when there was one."""
    stripped = text.strip(" \t")
    if len(stripped) < 2 or stripped[0] not in _QUOTES or stripped[-1] != stripped[0]:
        return text, ()
    warning = (
        f"{described} is enclosed in quotes ({stripped[0]}), probably kept from an environment file; "
        "they were taken off. Write the value without quotes."
    )
    return stripped[1:-1], (warning,)


def _missing(secret: SecretFile, what: str, detail: str = "") -> SecretMissing:
    return SecretMissing(f"{secret.described} {what}", detail=detail, hint=secret.command)
