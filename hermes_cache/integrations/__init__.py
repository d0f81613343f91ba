"""Libraries of others: what every gateway needs over HTTP, and what observes it, so that nobody writes it by hand.

Promise: importing this room imports none of them; only `asgi` (Starlette), `flask`, `prometheus` and
`opentelemetry` do. `answers` and `server_sent_events` decide all answers, without I/O, so that they are the same
for every framework.
Source: rules W4, D4, O7, L4.
"""
