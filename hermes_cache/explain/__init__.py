"""What became of a key, and why: explanations, as values and in words. No I/O here. Source: rule J7."""
