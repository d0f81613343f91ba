"""The journal: events kept in one order, shared by processes and machines.

Its promise: no event is skipped, none is applied twice, and where events were missed everything is outdated once.
The port stands in `hermes_cache.ports`. Source: rules J1 to J9.
"""
