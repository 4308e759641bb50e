"""Room `api`: what is wrong with a spec, in words for a person; called by `rules.admission`.

Paths are written as the API server writes them: `spec.storage.path`, `spec.checks[0].sql`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

_SHOWN_ERRORS = 8
_SHOWN_CHARACTERS = 80
_WRITE = "; `kubectl explain {kind}.{path}` tells more"


def describe(error: ValidationError, kind: str) -> str:
    """Every fault of a spec, one sentence each with its path, what was found and what is expected.

    `kind` is what `kubectl explain` takes, for example `bp`.
    """
    faults = error.errors(include_url=False)
    sentences = [_sentence(dict(fault), kind) for fault in faults[:_SHOWN_ERRORS]]
    if len(faults) > _SHOWN_ERRORS:
        sentences.append(f"and {len(faults) - _SHOWN_ERRORS} more")
    return ". ".join(sentences)


def path_in_words(location: Sequence[str | int]) -> str:
    """The place of a field: `spec.checks[0].sql`."""
    path = "spec"
    for step in location:
        path += f"[{step}]" if isinstance(step, int) else f".{step}"
    return path


def _sentence(fault: Mapping[str, Any], kind: str) -> str:
    location = fault["loc"]
    explained = ".".join(["spec", *(step for step in location if isinstance(step, str))])
    return f"{path_in_words(location)}: {_what(fault)}" + _hint(fault, kind, explained)


def _hint(fault: Mapping[str, Any], kind: str, explained: str) -> str:
    """The next command; a sentence of ours says itself what to write, and an unknown field has no explanation."""
    if fault["type"] == "value_error":
        return ""
    if fault["type"] == "extra_forbidden":
        explained = explained.rpartition(".")[0]
    return _WRITE.format(kind=kind, path=explained)


def _what(fault: Mapping[str, Any]) -> str:
    if fault["type"] == "value_error":
        return str(fault["msg"]).removeprefix("Value error, ")
    if fault["type"] == "missing":
        return "required, and missing"
    if fault["type"] == "extra_forbidden":
        return "unknown to this version of the operator; take it out, or upgrade the operator"
    return f"found {_shown(fault['input'])}; {_expected(str(fault['msg']))}"


def _expected(message: str) -> str:
    """pydantic's sentence in ours."""
    if message.startswith("Input should be a valid dictionary or instance of"):
        return "expected an object with fields"
    return message.replace("Input should be ", "expected ", 1).replace("a valid timedelta", "a text like 30d or 25h")


def _shown(found: object) -> str:
    text = f'"{found}"' if isinstance(found, str) else str(found)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
