"""skyloop.aws.settings: the environment, typed and bounded."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from skyloop.aws.settings import Settings

from tests.support.account import ENVIRONMENT


def test_the_environment_is_read():
    settings = Settings.from_environment(ENVIRONMENT)
    assert (settings.prefix, settings.labeling_batch_size, settings.drift_alpha) == ("skyloop-dev", 3, 0.01)


def test_a_changed_environment_is_read_anew(monkeypatch):
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    first = Settings.from_environment()
    assert Settings.from_environment() is first
    monkeypatch.setenv("SKYLOOP_CATALOGUE_TABLE", "another")
    assert Settings.from_environment().catalogue_table == "another"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LABELING_BATCH_SIZE", "0"),
        ("LABELING_BATCH_SIZE", "100001"),
        ("LABELING_BATCH_SIZE", "ten"),
        ("LABELING_MAX_WAIT_HOURS", "-1"),
        ("MIN_MAP50", "1.1"),
        ("DRIFT_ALPHA", "0"),
        ("DRIFT_ALPHA", "nan"),
        ("ENDPOINT_NAME", "Skyloop"),
        ("STAGE", ""),
    ],
)
def test_bounds(name, value):
    with pytest.raises(ValidationError, match=name.lower()):
        Settings.from_environment({**ENVIRONMENT, f"SKYLOOP_{name}": value})


@pytest.mark.parametrize("name", sorted(n for n in ENVIRONMENT if n.startswith("SKYLOOP_") and "EVENT_BUS" not in n))
def test_what_is_missing_is_named(name):
    with pytest.raises(ValidationError, match=name.removeprefix("SKYLOOP_").lower()):
        Settings.from_environment({key: value for key, value in ENVIRONMENT.items() if key != name})
