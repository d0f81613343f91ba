"""The command line: `hermes-cache`."""
