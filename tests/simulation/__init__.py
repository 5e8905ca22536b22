"""Whole streams in virtual time: the real ``Connection`` and the real ``Gateway`` in one seeded world.

A *world* (``world.py``) has a clock of whole microseconds. In it live an application (``application.py``) that pushes
marked audio (``tape.py``), the adapter loop (``adapter.py``), a network that fails in every way but reordering
(``network.py``), and gateways (``server.py``) whose recognisers (``recogniser.py``) hear exactly the words that lie in
the audio they got. How each of them behaves is a *plan* (``plan.py``), drawn from the seed. The *judge* (``judge.py``,
with ``account.py`` for the audio and ``listener.py`` for the events) holds all of it against the contract, step by
step; the *mutations* (``mutations.py``) show that it would notice.

    python -m tests.simulation --seed 42       replay one run, with a trace
    python -m tests.simulation --runs 100000   run many
    python -m tests.simulation --mutants       see deliberate mistakes being noticed

Nothing but the seed decides what happens: the same seed is the same run, on every machine.
"""
