"""Web frameworks: what every gateway needs over HTTP, so that nobody writes it by hand.

Promise: importing this room imports no framework; only `asgi` (Starlette) and `flask` do. `answers` and
`server_sent_events` decide all answers, without I/O, so that they are the same for every framework.
Source: rules W4, D4, O7.
"""
