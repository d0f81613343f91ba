"""The threaded HTTP gateway over a Hermes home, and its page."""
