"""File formats and geometry: pure, no clock, no cloud."""
