"""The HTTP gateway: a session list over HTTP, live; it needs the extra `serve`."""
