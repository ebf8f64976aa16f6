"""What the domain expects of this image: the border is crossed here, in a test, and nowhere else."""

from pathlib import Path

import numpy as np
import pytest
from skyloop.formats import profile as domain
from skyloop_container import profile as container
from skyloop_container.base_model import DOWNLOADS, SCRATCH
from skyloop_container.slicing import SlicingPlan

from cli.weights import local_weights


def test_the_command_line_knows_what_can_be_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert [local_weights(name) for name in (*DOWNLOADS, SCRATCH)] == [None] * 6


def test_the_domain_has_words_for_every_statistic_and_none_that_nobody_computes() -> None:
    """The contract is the names; their order is not part of it."""
    before = {name.removeprefix("slice_") for name in container.STATISTICS}  # of models packaged before slices
    assert set(container.STATISTICS) | before == set(domain.STATISTICS)


def test_the_layout_that_is_written_is_the_newest_that_is_read() -> None:
    assert container.PROFILE_VERSION == domain.PROFILE_VERSION
    assert not domain.NOT_STATISTICS & set(container.STATISTICS)


def test_the_domain_reads_what_the_container_says_of_a_picture() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    statistics = container.image_statistics(picture, SlicingPlan(), 32)
    profile = domain.profile_of({"profile": {"version": container.PROFILE_VERSION, **statistics, "features": [0.5]}})
    assert dict(zip(profile.names, profile.values, strict=True)) == statistics
    assert (profile.features, profile.unknown) == ((0.5,), ())
    assert 0.4 < statistics["slice_brightness"] < 0.6
