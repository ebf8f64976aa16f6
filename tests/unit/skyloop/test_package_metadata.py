"""The metadata of a model package."""

from __future__ import annotations

import pytest
from skyloop.documents import PackageMetadata


@pytest.mark.parametrize(("stored", "score"), [({"map50": "0.61", "deployed": "yes"}, 0.61), ({"map50": ""}, None)])
def test_a_score_is_text_until_it_is_read(stored: dict[str, str], score: float | None) -> None:
    assert PackageMetadata.model_validate(stored).score == score


def test_a_package_registered_by_hand_has_no_metadata() -> None:
    assert PackageMetadata.model_validate({}).score is None
    assert set(PackageMetadata.model_validate({}).plain().values()) == {""}
