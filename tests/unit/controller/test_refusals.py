"""Which refusals of the API server are told in a condition, and which are tried again first."""

import pytest

from backup_operator.controller.cluster import Refused
from backup_operator.controller.refusals import raise_if_it_heals


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (422, "CronJob is invalid"),
        (403, 'pods "a" is forbidden: exceeded quota'),
        (500, "unable to convert unstructured object to batch/v1: quantities must match the regular expression"),
        (500, 'Internal error occurred: failed calling webhook "policy.example.com"'),
    ],
)
def test_a_refusal_that_stands_is_told(status: int, words: str):
    raise_if_it_heals(Refused(status, words))


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (429, "too many requests"),
        (500, "etcdserver: leader changed"),
        (503, "the server is currently unable to handle the request"),
        (403, "forbidden: unable to create new content in namespace prod because it is being terminated"),
    ],
)
def test_a_refusal_that_heals_is_tried_again(status: int, words: str):
    with pytest.raises(Refused):
        raise_if_it_heals(Refused(status, words))
