"""Names that fit stay; those that do not keep their beginning and a hash of the whole."""

import re

import pytest

from backup_operator.rules.short_names import short_name

LONG = "a" * 50 + "." + "b" * 63 + "." + "c" * 100


@pytest.mark.parametrize("name", ["app-db", "a" * 52, "a.b"])
def test_a_name_that_fits_stays(name: str):
    assert short_name(name, 52) == name


@pytest.mark.parametrize("name", ["a" * 53, "a" * 43 + "." + "b" * 20, "a" * 42 + "--" + "b" * 20, LONG])
def test_a_name_that_does_not_fit_is_cut_into_one_that_kubernetes_takes(name: str):
    short = short_name(name, 52)

    assert len(short) <= 52
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", short)
