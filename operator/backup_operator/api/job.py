"""Room `api`: `spec.job` of both resources: the Job and the pod of a run, or of a restore. Imported by both models."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field, StrictInt

from backup_operator.api.meta import Amount, Duration, ObjectName, Quantity
from backup_operator.api.parts import Part, Rule


class Resources(Part):
    """CPU and memory of the worker's container."""

    requests: Annotated[dict[str, Amount], Field(max_length=16, default_factory=dict)]
    """What the scheduler sets aside, for example cpu: 250m. Default: the chart's."""
    limits: Annotated[dict[str, Amount], Field(max_length=16, default_factory=dict)]
    """What it may take at most, for example memory: 256Mi. Default: the chart's."""


class TolerationOperator(StrEnum):
    """How a toleration is compared."""

    EXISTS = "Exists"
    EQUAL = "Equal"


class TaintEffect(StrEnum):
    """What a taint does."""

    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


class Toleration(Part):
    """A taint that the pod tolerates, as in a pod."""

    key: Annotated[str, Field(max_length=316)] | None = None
    """Key of the taint. Default: every key."""
    operator: TolerationOperator | None = None
    """Exists or Equal. Default: Equal."""
    value: Annotated[str, Field(max_length=63)] | None = None
    """Value of the taint, compared with operator Equal. Default: empty."""
    effect: TaintEffect | None = None
    """Effect of the taint. Default: every effect."""
    toleration_seconds: StrictInt | None = None
    """How long NoExecute is tolerated. Default: for ever."""


class ImagePullSecret(Part):
    """A Secret for the registry, in the same namespace."""

    name: ObjectName
    """Name of the Secret."""


_A_MINUTE_OR_MORE = Rule(
    cel="!has(self.deadline) || !self.deadline.matches('^(0+[wdhm])*0*[1-5]?[0-9]s$')",
    message="deadline is shorter than a minute; write for example 6h",
    holds=lambda part: part.deadline is None or part.deadline >= timedelta(minutes=1),
)


class JobSettings(Part):
    """How a run's Job and pod are made."""

    rules: ClassVar = (_A_MINUTE_OR_MORE,)
    deadline: Duration = timedelta(hours=6)
    """The longest time that a run may take. Default: 6h."""
    backoff_limit: Annotated[StrictInt, Field(ge=0, le=10)] = 2
    """How often a run that may heal by itself is tried again. Default: 2."""
    resources: Resources = Resources()
    """CPU and memory of the worker. Default: the chart's."""
    node_selector: Annotated[dict[str, str], Field(max_length=32, default_factory=dict)]
    """Labels of the nodes that may run it. Default: every node."""
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=32)] = ()
    """Taints that the pod tolerates. Default: none."""
    image_pull_secrets: Annotated[tuple[ImagePullSecret, ...], Field(max_length=16)] = ()
    """Secrets for the registry, in the same namespace. Default: the chart's."""


class RestoreJobSettings(Part):
    """How a restore's Job and pod are made, which is never tried again."""

    rules: ClassVar = (_A_MINUTE_OR_MORE,)
    deadline: Duration | None = None
    """The longest time that the restore may take; planning has as long. Default: 6h."""
    resources: Resources | None = None
    """CPU and memory of the worker; Redis needs what its keys take. Default: the policy's, else the chart's."""
    scratch_size: Quantity | None = None
    """Size of the pod's scratch volume, in which a Redis backup is unpacked. Default: the chart's."""
    node_selector: Annotated[dict[str, Annotated[str, Field(max_length=63)]], Field(max_length=32)] | None = None
    """Labels of the nodes that may run it. Default: the policy's, else every node."""
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=32)] | None = None
    """Taints that the pod tolerates. Default: the policy's, else none."""
    image_pull_secrets: Annotated[tuple[ImagePullSecret, ...], Field(max_length=16)] | None = None
    """Secrets for the registry, in the same namespace. Default: the policy's, else the chart's."""
