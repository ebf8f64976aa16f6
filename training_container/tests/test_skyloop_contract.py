"""What the domain expects of this image: the border is crossed here, in a test, and nowhere else."""

import numpy as np
from skyloop.formats.profile import STATISTIC_NAMES, profile_of
from skyloop_container.profile import STATISTICS, image_statistics


def test_the_domain_reads_the_statistics_in_the_same_order() -> None:
    assert STATISTICS == STATISTIC_NAMES
    picture = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    profile = profile_of({"profile": {**image_statistics(picture), "features": [0.5]}})
    assert profile.features == (0.5,)
    assert 0.4 < profile.statistics[0] < 0.6
