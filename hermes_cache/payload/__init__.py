"""Payloads: frozen JSON, its rows and their encoded pieces. No I/O here."""
