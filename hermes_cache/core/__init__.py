"""The pure core: values and functions, no I/O, clock, thread, random or log here."""
