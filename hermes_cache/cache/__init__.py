"""The cache itself: the actor that owns the state, the reads, and the threads that do what it decides.

Its promise: no read that begins after an invalidation gets what was built before it. Source: rules R1 to R12.
"""
