"""Fuzzing with oracles: whatever strangers may send, and whatever callers may do (CONTRACT sections 2 and 4).

A *target* (``targets/``, one file each) takes a byte string, makes of it what somebody out there could send, and lets
nothing out but its closed list of permitted exceptions. That nothing crashed is the smaller half: each target has an
*oracle* that objects to what was wrongly accepted (``oracles.py``, ``client.py``, and ``tests/soundness.py``), compares
the decoders with and without the ``speed`` extra, and counts calls, so that work beyond what the input's length allows
is a finding as well and needs no clock (``work.py``).

    python -m tests.fuzzing --target wav --seconds 180 --corpus /some/folder
    python -m tests.fuzzing --executions 10000            every target in turn

Two engines call the same targets. Where ``atheris`` is installed it guides by coverage of the packages under test;
elsewhere, and in the tests, a seeded random mutates a corpus (``mutator.py``, ``engine.py``) and is guided by what the
targets tell of what happened. *Plants* (``plants.py``) are deliberate bugs that both must find. What was found once
lies in ``regressions/``, a folder for each target, and is run by ``tests/test_fuzzing.py`` for good.
"""
