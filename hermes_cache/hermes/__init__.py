"""A Hermes home: the builder and the sources that read what a Hermes installation keeps on disk."""
