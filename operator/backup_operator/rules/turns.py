"""Room `rules`: whose turn it is: what a RestoreRequest comes after, and who else is at its target; pure.

Called by `controller.restores` before a request begins. Two that write to one target never run at the same time; of two
that could begin, the older one does.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from backup_operator.api.restorestatus import RestoreState
from backup_operator.contract.report import Fault
from backup_operator.rules.conditions import sentence
from backup_operator.vocabulary.reasons import Reason

_BEFORE_IT_BEGINS = (None, RestoreState.WAITING, RestoreState.PLANNED)


@dataclass(frozen=True)
class Standing:
    """A RestoreRequest of the namespace as the others see it."""

    name: str
    created_at: datetime
    state: RestoreState | None = None
    target: str = ""
    """`<Secret>/<key>` that leads to its target; empty while that is not known, so that it cannot begin."""
    after: tuple[str, ...] = ()
    writes: bool = True
    """Whether more than a plan is wanted."""
    message: str = ""

    @property
    def precedence(self) -> tuple[datetime, str]:
        """The older one first, then by name."""
        return (self.created_at, self.name)


Standings = Mapping[str, Standing]
"""Every request of a namespace by its name."""


@dataclass(frozen=True)
class BusyJob:
    """A Job that is at a server: a policy's run, or a restore whose request is gone."""

    name: str
    target: str
    owner: str
    """Whose Job it is, in words: `BackupPolicy app-db`."""
    writes: bool


def never(me: Standing, all_of_them: Standings) -> Fault | None:
    """Why this request can never begin; None when it can."""
    if way := _circle(me, all_of_them):
        return Fault(
            reason=Reason.INVALID_SPEC,
            message=f"spec.after: the requests wait for one another: {' after '.join(way)}",
            hint="create them again without the circle",
        )
    for name in me.after:
        other = all_of_them.get(name)
        if other is not None and other.state is RestoreState.FAILED:
            return Fault(
                reason=Reason.AFTER_FAILED,
                message=f"RestoreRequest {name}, which this one comes after, has failed; nothing was touched",
                detail=other.message,
                hint="mend what failed, then create both again under other names",
            )
    return None


def waits_for(me: Standing, all_of_them: Standings, jobs: Iterable[BusyJob]) -> str:
    """Why this request has to wait now, in sentences; empty when it can go on."""
    if words := _missing_before(me, all_of_them):
        return words
    busy = [job for job in jobs if job.target == me.target and (job.writes or me.writes)]
    others = [other for other in all_of_them.values() if other.name != me.name and other.target == me.target]
    running = [other.name for other in others if other.state is RestoreState.RUNNING]
    if running:
        names = ", ".join(sorted(running))
        return f"RestoreRequest {names} has begun, goes to the server of Secret {me.target} too, and has not ended."
    if busy:
        return f"{busy[0].owner} is at the server of Secret {me.target}: its Job {busy[0].name} has not ended."
    ahead = [other for other in others if me.writes and _could_begin(other, all_of_them)]
    first = min((other for other in ahead if other.precedence < me.precedence), key=_precedence, default=None)
    return f"RestoreRequest {first.name} is older and goes to the server of Secret {me.target} first." if first else ""


def _precedence(one: Standing) -> tuple[datetime, str]:
    return one.precedence


def _could_begin(one: Standing, all_of_them: Standings) -> bool:
    """Whether nothing but others at its target keeps this request from writing."""
    if one.state not in _BEFORE_IT_BEGINS or not one.writes or not one.target:
        return False
    return not never(one, all_of_them) and not _missing_before(one, all_of_them)


def _missing_before(me: Standing, all_of_them: Standings) -> str:
    """What this request comes after and is not Complete yet."""
    missing = []
    for name in me.after:
        other = all_of_them.get(name)
        if other is None:
            missing.append(f"RestoreRequest {name} does not exist (yet)")
        elif other.state is not RestoreState.COMPLETE:
            missing.append(f"RestoreRequest {name} is {other.state.value if other.state else 'not begun'}")
    return sentence(f"Waits for spec.after: {'; '.join(missing)}") if missing else ""


def _circle(me: Standing, all_of_them: Standings) -> tuple[str, ...]:
    """The way along `after` from this request back to itself; empty when there is none. Complete ones end a way."""
    ways: list[tuple[str, ...]] = [(me.name, name) for name in me.after]
    seen: set[str] = set()
    while ways:
        way = ways.pop()
        if way[-1] == me.name:
            return way
        other = all_of_them.get(way[-1])
        if other is None or other.name in seen or other.state is RestoreState.COMPLETE:
            continue
        seen.add(other.name)
        ways += [(*way, name) for name in other.after]
    return ()
