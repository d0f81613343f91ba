"""Public test aids: clocks, sources and builders that a test drives."""
