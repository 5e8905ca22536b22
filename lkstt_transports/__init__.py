"""Transports for ``lkstt_proto``: one adapter per runtime, each imported by its own name.

``lkstt_transports.asyncio`` runs on aiohttp. Importing this package imports no event loop, and importing an adapter
imports only its own runtime.
"""
