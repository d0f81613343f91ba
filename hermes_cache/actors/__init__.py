"""Actors on pykka: the only place that knows threads and mailboxes."""
