"""What every test shares: property tests that find the same examples on every machine, whatever its speed."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "lkstt", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("lkstt")
