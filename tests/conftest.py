"""What every test shares: property tests that find the same examples on every machine, whatever its speed."""

from __future__ import annotations

import signal

from hypothesis import HealthCheck, settings

# Whoever is started in the background of a shell ignores interrupts, and so would the programs that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile(
    "lkstt", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("lkstt")
