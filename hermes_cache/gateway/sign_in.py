"""The form that trades the token of a gateway for a cookie.

A person opens the address that `serve` prints. The script of the form takes the token from behind `#`, where no
server and no proxy sees it, and sends it in the body of a request. Without a script, the person types it.

Source: rule W5.
"""

from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs

import orjson
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from hermes_cache.gateway.access import Access
from hermes_cache.gateway.answers import error_answer
from hermes_cache.gateway.request_facts import facts_of

_MOST_FIELDS: Final = 8
_DEEPEST: Final = 16
_WRONG: Final = "This is not the token of this gateway."
_NOT_STORED: Final = {"Cache-Control": "no-store"}


class SignIn:
    """Answers requests for the form, and those that it sends."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._form = (Path(__file__).with_name("page") / "sign_in.html").read_text("utf-8")

    def form(self, path: str, status: HTTPStatus, problem: str = "") -> Response:
        """Return the form.

        Args:
            path: Where the browser is. The addresses in the form are relative to it, so that a prefix of a proxy
                does not matter.
            status: The status of the answer.
            problem: A sentence for the person.
        """
        root = "../" * min(path.count("/") - 1, _DEEPEST) or "./"
        text = self._form.replace("{root}", root).replace("{problem}", problem)
        return HTMLResponse(text, status, _NOT_STORED)

    async def answer(self, request: Request) -> Response:
        """Answer a request of either method."""
        return await self._trade(request) if request.method == "POST" else self._show(request)

    def _show(self, request: Request) -> Response:
        # A person gets the form. A script gets whether its browser is signed in.
        facts = facts_of(request.scope)
        if facts.wants_page:
            return self.form(facts.path, HTTPStatus.OK)
        body = orjson.dumps({"signed_in": self._access.is_signed_in(facts)})
        return Response(body, headers=_NOT_STORED, media_type="application/json")

    async def _trade(self, request: Request) -> Response:
        facts = facts_of(request.scope)
        is_person = "text/html" in (facts.accept or "")
        cookie = self._access.cookie(_token_in(await request.body()), facts)
        if cookie is None and self._access.needs_token:
            if is_person:
                return self.form(facts.path, HTTPStatus.UNAUTHORIZED, _WRONG)
            refused = error_answer(HTTPStatus.UNAUTHORIZED, _WRONG)
            refused.headers["WWW-Authenticate"] = "Bearer"
            return refused
        headers = {**_NOT_STORED, "Set-Cookie": cookie} if cookie else _NOT_STORED
        if is_person:
            return Response(status_code=HTTPStatus.SEE_OTHER, headers={**headers, "Location": "./"})
        return Response(status_code=HTTPStatus.NO_CONTENT, headers=headers)


def _token_in(body: bytes) -> str:
    try:
        fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=_MOST_FIELDS)
    except ValueError:
        return ""
    return fields.get("token", [""])[0].strip()
