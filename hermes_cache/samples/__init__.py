"""Sample homes for demos, tests and benchmarks, and a writer that keeps one busy. Source: rule X9."""
