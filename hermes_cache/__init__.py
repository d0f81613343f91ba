"""A cache of the session list that is never slower than it must be and never older than it may be."""
