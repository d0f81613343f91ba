"""The files of the page. Starlette sends them, whole or in parts, and knows what a browser has already."""

from re import compile as pattern
from typing import Final

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

_RANGES: Final = pattern(rb"bytes *= *(?:[0-9]+-[0-9]*|-[0-9]+)(?: *, *(?:[0-9]+-[0-9]*|-[0-9]+))*")


class Assets(StaticFiles):
    """Files of a folder, for browsers that ask each time whether a file changed."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request. A range in a form that is not known is ignored, as RFC 9110, section 14.2, demands."""
        headers = [each for each in scope["headers"] if each[0] != b"range" or _RANGES.fullmatch(each[1].strip())]
        await super().__call__({**scope, "headers": headers}, receive, send)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return the answer for one file."""
        response = await super().get_response(path, scope)
        # Without this a browser would guess for how long it need not ask, and show an old page after an upgrade.
        response.headers["Cache-Control"] = "no-cache"
        return response
