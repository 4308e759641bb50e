"""What the chart says about notifications, as the operator reads it; and the chart's own lists of kinds."""

import json
from pathlib import Path

import pytest

from backup_operator.controller.routes import Notifications, notifications_in
from backup_operator.controller.settings import Settings, SettingsInvalid
from backup_operator.rules.notices import Route
from backup_operator.vocabulary.notifications import NotificationKind

CHART = Path(__file__).resolve().parents[3] / "charts" / "backup-operator"


def test_nothing_said_is_nobody_told():
    assert notifications_in({}) == notifications_in({"NOTIFICATION_ROUTES": "null"}) == Notifications()


def test_a_route_names_its_key_and_what_it_takes():
    stated = [{"urlKey": "mail"}, {"urlKey": "pager", "events": ["Stale", "Stuck"], "namespaces": ["prod"]}]

    found = notifications_in({"NOTIFICATION_ROUTES": json.dumps(stated), "NOTIFICATION_URLS": "/urls"})

    kinds = frozenset({NotificationKind.STALE, NotificationKind.STUCK})
    assert found == Notifications((Route("mail"), Route("pager", kinds, frozenset({"prod"}))), Path("/urls"))


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        ('[{"urlKey": "mail", "events": ["Faild"]}]', r"0\.events\.0: Input should be 'Failed'"),
        ('[{"urlKey": "../token"}]', r"0\.urlKey: "),
        ('[{"urlKey": "mail\\n"}]', r"0\.urlKey: "),
        ('[{"urlKey": ".."}]', r"0\.urlKey: "),
        ('[{"events": []}]', r"0\.urlKey: Field required"),
        ('[{"urlKey": "mail", "url": "json://…"}]', r"0\.url: Extra inputs"),
        ("{", "Expecting"),
    ],
)
def test_what_cannot_be_read_is_said_in_words(stated: str, words: str):
    with pytest.raises(SettingsInvalid, match=f"NOTIFICATION_ROUTES cannot be read: {words}"):
        Settings.from_environment({"BACKUP_IMAGE": "worker:1", "NOTIFICATION_ROUTES": stated})


def test_the_chart_knows_every_kind():
    kinds = [kind.value for kind in NotificationKind]
    schema = json.loads((CHART / "values.schema.json").read_text())
    comment = (CHART / "values.yaml").read_text().partition("Kinds:")[2].partition("routes:")[0].replace("#", "")

    assert schema["definitions"]["route"]["properties"]["events"]["items"]["enum"] == kinds
    assert comment.split() == kinds
