"""Actors on pykka whose mailbox runs on the thread that asks, and the thread that tells monitors."""
