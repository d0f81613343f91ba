"""`python -m hermes_cache.cli`: the same as `hermes-cache`."""

from hermes_cache.cli.main import main

main(prog_name="hermes-cache")
