"""The bus: topics on which facts are published, and the subscriptions that hear of them.

Its promise: when `send` returns, every cache on the bus has applied the event; one receiver harms no other.
Source: rules E1 to E9.
"""
