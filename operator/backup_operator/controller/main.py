"""Room `controller`: what `kopf run -m backup_operator.controller.main` loads: settings of Kopf and its watch handlers.

Only `on.event` handlers: those of creation and update, timers and daemons keep state in the object (nolar/kopf#641,
#1082, #1087, #896). An event marks a key dirty and nothing more.
"""

import dataclasses
import logging
import ssl
from typing import Any

import kopf

from backup_operator.api.meta import GROUP, VERSION
from backup_operator.controller.cluster import Cluster, Manifest
from backup_operator.controller.engine import CrdsMissing, Engine
from backup_operator.controller.exposition import Exposition, MetricsPortTaken
from backup_operator.controller.settings import Settings, SettingsInvalid
from backup_operator.controller.signals import Signals
from backup_operator.manifests.labels import OURS

_WATCH_SECONDS = 300
_CONNECT_SECONDS = 10
_ERROR_BACKOFFS = (0.5, 1, 2, 3, 5, 5, 5)
_DELETED = "DELETED"


@kopf.on.startup(retries=1)
async def start(settings: kopf.OperatorSettings, memo: kopf.Memo, **_: Any) -> None:
    """Configure Kopf as a mere watch engine and start the operator; a fault here ends the process."""
    try:
        ours = Settings.from_environment()
        configure(settings, ours)
        signals = Signals()
        if ours.metrics_port:
            memo.exposition = Exposition.start(signals.registry, ours.metrics_port)
        memo.engine = Engine(await Cluster.connect(signals.api_answered), ours, signals)
        await memo.engine.start()
    except (SettingsInvalid, MetricsPortTaken, CrdsMissing) as exc:
        raise kopf.PermanentError(str(exc)) from exc


class _Connection(kopf.ConnectionInfo):
    """Chain and host name are checked, and nothing is asked of a CA that other clients do not ask: see `cluster`."""

    def as_ssl_context(self) -> ssl.SSLContext:
        """As Kopf makes it, without the strictness that came with Python 3.13."""
        context = super().as_ssl_context()
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return context


@kopf.on.login()
def log_in(**fields: Any) -> kopf.ConnectionInfo | None:
    """By the pod's service account, else by KUBECONFIG."""
    found = kopf.login_via_client(**fields)
    if found is None:
        return None
    return _Connection(**{field.name: getattr(found, field.name) for field in dataclasses.fields(found)})


def configure(settings: kopf.OperatorSettings, ours: Settings) -> None:
    """Kopf writes nothing, coordinates nothing, and reconnects soon."""
    settings.peering.standalone = True
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.watching.server_timeout = _WATCH_SECONDS
    settings.watching.connect_timeout = _CONNECT_SECONDS
    settings.networking.error_backoffs = _ERROR_BACKOFFS
    for group, plural in (("batch", "cronjobs"), ("batch", "jobs"), ("", "pods")):
        settings.watching.label_selectors[group, "v1", plural] = OURS
    settings.watching.field_selectors["coordination.k8s.io", "v1", "leases"] = f"metadata.name={ours.lease.name}"
    for chatty in ("kopf.objects", "kopf.activities.watch", "aiohttp.access"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


@kopf.on.cleanup()
async def stop(memo: kopf.Memo, **_: Any) -> None:
    """Hand the Lease over."""
    if "engine" in memo:
        await memo.engine.stop()
    if "exposition" in memo:
        memo.exposition.stop()


@kopf.on.event(GROUP, VERSION, "backuppolicies")
async def policy_event(memo: kopf.Memo, type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002 - Kopf's word
    """A BackupPolicy."""
    memo.engine.policy_seen(_manifest(body), deleted=type == _DELETED)


@kopf.on.event(GROUP, VERSION, "restorerequests")
async def restore_event(memo: kopf.Memo, type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002 - Kopf's word
    """A RestoreRequest."""
    memo.engine.restore_seen(_manifest(body), deleted=type == _DELETED)


@kopf.on.event("batch", "v1", "cronjobs")
async def cronjob_event(memo: kopf.Memo, body: kopf.Body, **_: Any) -> None:
    """A CronJob of ours."""
    memo.engine.child_seen(_manifest(body))


@kopf.on.event("batch", "v1", "jobs")
async def job_event(memo: kopf.Memo, type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002 - Kopf's word
    """A Job of ours, made by the CronJob, by us or by hand."""
    if type == _DELETED:
        memo.engine.job_gone(_manifest(body))
    else:
        memo.engine.job_seen(_manifest(body))


@kopf.on.event("", "v1", "pods")
async def pod_event(memo: kopf.Memo, body: kopf.Body, **_: Any) -> None:
    """A worker's pod."""
    memo.engine.pod_seen(_manifest(body))


@kopf.on.event("coordination.k8s.io", "v1", "leases")
async def lease_event(memo: kopf.Memo, body: kopf.Body, **_: Any) -> None:
    """Our Lease, as the watch shows it."""
    memo.engine.leadership.seen_by_watch(_manifest(body))


@kopf.on.probe(id="watch")
async def probe(memo: kopf.Memo, **_: Any) -> str:
    """Whether the watch is alive; any error but a PermanentError would hang the probe instead of failing it."""
    if "engine" in memo and memo.engine.leadership.watch_is_deaf:
        raise kopf.PermanentError("the Lease changes and the watch does not tell")
    return "hears"


def _manifest(body: kopf.Body) -> Manifest:
    return dict(body)
