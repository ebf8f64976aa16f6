"""A day in the life of Skyloop, played on real images; `python -m demo`."""
