"""A Hermes home: the builder and the sources that read what a Hermes installation keeps on disk."""

from hermes_cache.stores.hermes.home import HermesHome

__all__ = ["HermesHome"]
