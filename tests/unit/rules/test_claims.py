"""The claim that holds a store: the one that is named, or one of the policy's name."""

from backup_operator.api.storage import Storage
from backup_operator.rules.claims import CLAIM_NAME_LIMIT, claim_name

NAMED = Storage.model_validate({"claimName": "backups"})
MADE = Storage.model_validate({"claimTemplate": {"size": "1Gi"}})


def test_a_claim_that_is_named_is_that():
    assert claim_name("app-db", NAMED) == "backups"


def test_a_claim_of_a_template_has_the_policys_name_whatever_its_uid():
    assert claim_name("app-db", MADE) == "app-db-backups"


def test_policies_with_long_names_have_claims_of_their_own():
    first, second = claim_name("a" * 200 + "x", MADE), claim_name("a" * 200 + "y", MADE)

    assert first != second
    assert max(len(first), len(second)) <= CLAIM_NAME_LIMIT
