"""Room `controller`: what the chart says about notifications, read once by `controller.settings`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from backup_operator.rules.notices import Route
from backup_operator.vocabulary.notifications import NotificationKind

_DIRECTORY = "/notifications"


@dataclass(frozen=True)
class Notifications:
    """Who is told what, and where the URLs are."""

    routes: tuple[Route, ...] = ()
    directory: Path = Path(_DIRECTORY)
    """Where the Secret with the URLs is mounted, one file a key; read anew for every notice."""


class _Route(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, frozen=True)
    url_key: Annotated[str, StringConstraints(pattern="^[-_a-zA-Z0-9][-._a-zA-Z0-9]*$")]
    events: tuple[NotificationKind, ...] = ()
    namespaces: tuple[str, ...] = ()


def notifications_in(environment: Mapping[str, str]) -> Notifications:
    """By NOTIFICATION_ROUTES (JSON) and NOTIFICATION_URLS (a directory). Raises: ValueError in words."""
    try:
        # a value that Helm was told to take out comes as null
        stated = json.loads(environment.get("NOTIFICATION_ROUTES") or "[]") or []
        routes = TypeAdapter(tuple[_Route, ...]).validate_python(stated)
    except ValidationError as exc:
        raise ValueError("; ".join(_words(fault) for fault in exc.errors())) from exc
    directory = Path(environment.get("NOTIFICATION_URLS") or _DIRECTORY)
    return Notifications(tuple(_route(one) for one in routes), directory)


def _route(stated: _Route) -> Route:
    return Route(stated.url_key, frozenset(stated.events), frozenset(stated.namespaces))


def _words(fault: Mapping[str, object]) -> str:
    place = ".".join(str(part) for part in fault["loc"]) if isinstance(fault["loc"], tuple) else ""
    return f"{place}: {fault['msg']}"
