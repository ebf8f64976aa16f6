"""Every call of the loop fails once: nothing is stuck, nothing is done twice. See tests/faults/call_sites.py."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from laptop.faults import MODES
from tests.faults.call_sites import PREPARED, Campaign, Outcome, faults, table
from tests.faults.turns import UPDATE

TABLES = Path(".cache") / "call-sites"


@pytest.fixture
def campaign(tmp_path: Path) -> Iterator[Campaign]:
    campaign = Campaign(tmp_path)
    yield campaign
    if campaign.loop.home.exists():
        campaign.loop.command("down")


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the first worker that comes here prepares for all of the run."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "prepared"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / PREPARED).exists():
            first = Campaign(folder)
            try:
                first.prepare()
                first.keep()
            except BaseException:
                first.loop.command("down")
                raise
    return folder


@pytest.mark.loop
@pytest.mark.xdist_group("beside the whole loop")  # on one worker, for that takes as long as both
@pytest.mark.timeout(3600)
def test_a_call_fails_in_each_way(campaign: Campaign) -> None:
    campaign.prepare()
    assert campaign.turn(UPDATE).wrong == ""
    # The sweep runs by the clock, and may not run while this turn does.
    sites = sorted(site for site in campaign.sites if "sweep" not in site)
    for mode in MODES:
        fault = faults({UPDATE: sites}, (mode,), seed=1)[0]
        outcome = campaign.turn(UPDATE, fault)
        assert (outcome.wrong, outcome.happened) == ("", True), fault


@pytest.mark.faults
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize("mode", MODES)
def test_every_call_fails(campaign: Campaign, prepared: Path, mode: str) -> None:
    sites = campaign.begin_from(prepared)
    results: list[Outcome] = []
    TABLES.mkdir(parents=True, exist_ok=True)
    for fault in faults(sites, (mode,), seed=0):
        results.append(campaign.turn(fault.turn, fault))
        (TABLES / f"{mode}.md").write_text(table(results))  # each time: what is known stays where the rest is stopped
    assert [(one.site, one.wrong) for one in results if one.wrong] == []
    assert sum(one.happened for one in results) > 0.8 * len(results)
