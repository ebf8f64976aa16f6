"""What all tests share: Hypothesis draws the same examples in every run, and a slow machine fails none of them."""

from hypothesis import HealthCheck, settings

settings.register_profile("repository", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("repository")
