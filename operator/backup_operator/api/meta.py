"""Room `api`: the small words that both resources share: names, spans, amounts, times, Secret keys, conditions.

Imported by the models, by `rules`, `manifests` and `controller`.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StrictBool,
    StrictInt,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel

from backup_operator.api.parts import Format, Part, StatusPart
from backup_operator.vocabulary.conditions import ConditionStatus

GROUP = "backup.agentsflow.ai"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
ACCEPTED_ANNOTATION = f"{GROUP}/accepted-backup"
"""On a BackupPolicy: the run from which on a person accepts what its data looks like."""

_DURATION = Format(
    pattern="([0-9]{1,4}w)?([0-9]{1,4}d)?([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,5}s)?",
    expected="a time span above zero in w, d, h, m and s, the largest first, without spaces",
    example="30d, 25h or 1h30m",
    max_length=32,
    forbidden="^[^1-9]*$",
)
_UNITS = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes", "s": "seconds"}


def parse_duration(text: str) -> timedelta:
    """`30d`, `25h`, `15m`, `1h30m` as a span. Raises: ValueError in words."""
    _DURATION.check(text)
    return timedelta(**{_UNITS[unit]: int(number) for number, unit in re.findall("([0-9]+)([wdhms])", text)})


def format_duration(span: timedelta) -> str:
    """The span in whole seconds as users write it: `30d`, `25h`, `1h30m`."""
    seconds = int(span.total_seconds())
    if seconds and seconds % 86400 == 0:
        return f"{seconds // 86400}d"
    parts = [(seconds // 3600, "h"), (seconds % 3600 // 60, "m"), (seconds % 60, "s")]
    return "".join(f"{number}{unit}" for number, unit in parts if number) or "0s"


def _as_span(value: object) -> object:
    return parse_duration(value) if isinstance(value, str) else value


Duration = Annotated[
    timedelta,
    Field(strict=True),
    BeforeValidator(_as_span),
    PlainSerializer(format_duration),
    WithJsonSchema(_DURATION.schema()),
]
"""A span; users write `30d`, `25h`, `1h30m`."""


def format_time(moment: datetime) -> str:
    """The moment in UTC, to the second, as the API server writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def to_the_second(moment: datetime) -> datetime:
    """The moment in UTC as the API server keeps it: equal statuses must stay equal."""
    return moment.astimezone(UTC).replace(microsecond=0)


Time = Annotated[AwareDatetime, PlainSerializer(format_time), WithJsonSchema({"type": "string", "format": "date-time"})]
"""A moment with a zone."""

Bool = StrictBool
Count = Annotated[StrictInt, Field(ge=0, le=2**31 - 1)]
"""A whole number from zero on."""

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
ObjectName = Annotated[
    str, Format(f"{_LABEL}(\\.{_LABEL})*", "the name of an object: small letters, digits, '-' and '.'", "app-db")
]
"""The name of a Kubernetes object."""

SecretKey = Annotated[
    str,
    Format(
        "[-._a-zA-Z0-9]+",
        "a key in a Secret: letters, digits, '-', '_' and '.', but not '.' alone or '..' in front",
        "SUPABASE_DB_URL",
        forbidden="^\\.(\\.|$)",
    ),
]
"""A key in a Secret."""

Quantity = Annotated[
    str,
    Format(
        "([0-9]+(\\.[0-9]*)?|\\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?",
        "an amount as Kubernetes writes it",
        "20Gi",
        max_length=40,
    ),
]
"""An amount of bytes, for example `20Gi`."""


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


_AMOUNT = Format(
    "([0-9]+(\\.[0-9]*)?|\\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?",
    "an amount as Kubernetes writes it",
    "250m, 2 or 512Mi",
    max_length=40,
)
Amount = Annotated[str, BeforeValidator(_as_text), _AMOUNT, WithJsonSchema(_AMOUNT.schema_of_number_or_text())]
"""An amount of CPU or memory, written as a number or a text; a wrong one in a Job is answered with 500."""

_PATH = "[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*"
_PATH_WORDS = (
    "a path below the root of the claim: names of letters, digits, '.', '_' and '-' joined by '/', "
    "without '/' in front or at the end, without '..'"
)
GivenPath = Annotated[str, Format(_PATH, _PATH_WORDS, "prod/app-db", max_length=512)]
"""A relative path on a claim."""

StorePath = Annotated[str, Format(f"({_PATH})?", _PATH_WORDS, "prod/app-db", max_length=512)]
"""A relative path on a claim; empty means the default."""


class SecretKeyRef(Part):
    """One key of a Secret in the same namespace."""

    name: ObjectName
    """Name of the Secret, in the same namespace."""
    key: SecretKey
    """Key in the Secret that holds the value."""


class Condition(StatusPart):
    """One thing that is true, false or unknown, with its reason."""

    type: Annotated[str, Field(max_length=316)]
    """What is said, for example Fresh."""
    status: ConditionStatus
    """True, False or Unknown."""
    observed_generation: int | None = None
    """The metadata.generation that this was judged for."""
    last_transition_time: Time
    """When status last changed."""
    reason: Annotated[str, Field(min_length=1, max_length=1024)]
    """Why, in one word; the README has the table of reasons."""
    message: Annotated[str, Field(max_length=32768)]
    """Why, in a sentence that says what to do."""


CONDITION_LIST: dict[str, Any] = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}


class Metadata(BaseModel):
    """What we read of an object's metadata."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)
    name: str
    namespace: str
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    creation_timestamp: AwareDatetime | None = None
    deletion_timestamp: AwareDatetime | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


_SIZE_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def size_in_words(size_bytes: int) -> str:
    """Bytes as people read them: `912 B`, `1.2 GiB`."""
    size, unit = float(size_bytes), 0
    while round(size, 1) >= 1024 and unit < len(_SIZE_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{size:.1f} {_SIZE_UNITS[unit]}" if unit else f"{size_bytes} B"
