"""Sessions of roles at the end of their time, which no test can wait for."""

from __future__ import annotations

import time

import pytest
from ministack.services import sts

from laptop.door.signatures import Refused
from laptop.ministack_patches import authorization

ARN = "arn:aws:sts::000000000000:assumed-role/reader/session"


def session(key: str, seconds: float) -> None:
    granted = {"SecretAccessKey": "secret", "SessionToken": "token"}
    sts.register_session(key, {"Arn": ARN, "UserId": "reader:session", "Expiration": time.time() + seconds, **granted})


def test_a_session_ends_with_its_time() -> None:
    session("ASIAYOUNG", 60)
    assert authorization.session_secret("ASIAYOUNG", "token") == "secret"
    session("ASIAOLD", -1)
    with pytest.raises(Refused) as refused:
        authorization.session_secret("ASIAOLD", "token")
    assert refused.value.code == "ExpiredTokenException"


@pytest.mark.parametrize("key", ["test", "000000000000", "123456789012", "ASIAUNKNOWN", ""])
def test_nobody_is_the_account_by_a_name_that_all_know(key: str) -> None:
    with pytest.raises(Refused):
        authorization.session_secret(key, "")
