"""Recordings: a proxy that makes them of anybody's sessions, and what shows them and plays them back.

``witness`` notes one session, ``proxy`` brings sessions by; ``timeline`` reads a fixture, ``page`` makes a picture of
it, ``player`` plays its gateway side over a socket.
"""
