"""The description of the gateway's interface in the form of OpenAPI 3.1.

The parameters of a view come from the table that reads them, and bodies from the classes that they are made of, so
that nothing is written twice. Each path also answers HEAD and OPTIONS. Source: rule W1.
"""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from http import HTTPStatus
from types import NoneType, UnionType
from typing import Any, Final, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

from hermes_cache.bus.codec import KINDS
from hermes_cache.cache.lookups import Health, Patch, Stats
from hermes_cache.core.events import EventId
from hermes_cache.distribution import installed_version
from hermes_cache.explain.explanations import BuiltBy, Explanation
from hermes_cache.explain.overview import ActiveStream, KnownScope
from hermes_cache.integrations.negotiation import PATCH_TYPE
from hermes_cache.integrations.view_query import VIEW_FIELDS
from hermes_cache.sessions.keys import SessionListKey

_Object: TypeAlias = dict[str, Any]

_TEXT: Final[_Object] = {"type": "string"}
_SCALARS: Final[Mapping[object, str]] = {
    str: "string", EventId: "string", bool: "boolean", int: "integer", float: "number", NoneType: "null",
}  # fmt: skip

_REFUSALS: Final = {
    HTTPStatus.BAD_REQUEST: "A parameter has a wrong value (`field` names it), or the request is malformed.",
    HTTPStatus.UNAUTHORIZED: "The token is missing or wrong.",
    HTTPStatus.FORBIDDEN: "A page of another site sent the request.",
    HTTPStatus.METHOD_NOT_ALLOWED: "The path does not take this method; `Allow` names those that it takes.",
    HTTPStatus.REQUEST_TIMEOUT: "The request was not whole in time.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is too large.",
    HTTPStatus.MISDIRECTED_REQUEST: "The gateway does not answer to this host name.",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "The head is too large.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "The gateway failed; its log says why.",
    HTTPStatus.SERVICE_UNAVAILABLE: "Not now: no list could be built, or there is too much to do.",
}
"""What any path may answer."""

_LIST_HEADERS: Final = {
    "ETag": "Names this list in this encoding.",
    "X-Hermes-Cache-Edition": "Names this state of the list, for `since`.",
    "X-Hermes-Cache": "How it was found: hit, stale, built, waited or outdated.",
    "X-Hermes-Cache-Reason": "Why it was no hit: age, source, event or miss.",
    "X-Hermes-Cache-Error": "What stands in the way of a newer list.",
    "Age": "Seconds since it was built.",
    "X-Hermes-Cache-Ignored": "The parameters that are not known, percent-encoded; at most 10.",
}


def description(root_path: str = "") -> _Object:
    """Return the description.

    Args:
        root_path: The prefix of all paths at a proxy.
    """
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "hermes_cache gateway",
            "version": installed_version(),
            "description": "The session lists of a Hermes home, and what their cache does.",
        },
        "servers": [{"url": root_path or "/"}],
        "security": [{"token": []}, {"cookie": []}, {}],
        "paths": _paths(),
        "components": {
            "schemas": _schemas(),
            "responses": {str(status.value): _error(meaning) for status, meaning in _REFUSALS.items()},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": "hermes_cache_<port>"},
            },
        },
    }


def _paths() -> _Object:
    return {
        "/api/sessions": {"get": _list()},
        "/api/sessions/events": {"get": _events()},
        "/api/sessions/follow": {"get": _follow()},
        "/api/explain": {
            "get": _operation("Why a list is as it is.", _found("Explanation") | _no_profile(), _view())
        },
        "/api/cache": {"get": _operation("All that the cache holds and does.", _found("Overview"))},
        "/api/events": {"post": _publish()},
        "/api/health": {
            "get": _operation("Whether reads can be answered.", _found("Health") | {"503": _json("No.", "Health")})
        },
        "/api/ready": {
            "get": _operation("Whether a list was built.", _found("Ready") | {"503": _json("Not yet.", "Ready")})
        },
        "/api/openapi.json": {"get": _operation("This description.", _found("Description"))},
        "/metrics": {"get": _operation("What Prometheus collects.", {"200": _metrics()})},
        "/sign-in": {
            "get": _operation("Whether the browser is signed in.", _found("SignedIn")),
            "post": _sign_in(),
        },
        "/": {"get": _operation("The page.", {"200": _content("The page.", "text/html")})},
        "/page/{path}": {"get": _asset()},
    }


def _list() -> _Object:
    headers = {name: {"description": meaning, "schema": _TEXT} for name, meaning in _LIST_HEADERS.items()}
    whole = _json("The list, or what changed in it since the edition that the client names.", "SessionList")
    whole["content"][PATCH_TYPE] = {"schema": {"$ref": "#/components/schemas/Patch"}}
    answers = {
        "200": whole | {"headers": headers},
        "304": {"description": "The client has this list already.", "headers": headers},
        **_no_profile(),
        "406": _error("The client accepts no encoding of a list."),
        "504": _error("The list was not built in time; the build goes on."),
    }
    known = _parameter("If-None-Match", "The tags of lists that the client has.", _TEXT, where="header")
    since = _parameter("since", "The edition that the client has, to get a patch from it.", _TEXT)
    return _operation("The list of a view.", answers, [*_view(), since, known])


def _follow() -> _Object:
    summary = "A view as server-sent events: the whole list, then a patch whenever it changed."
    since = _parameter("since", "The edition that the client has.", _TEXT)
    last = _parameter("Last-Event-ID", "The same, as a browser says it; it counts first.", _TEXT, where="header")
    return _operation(summary, {"200": _content("The stream.", "text/event-stream")}, [*_view(), since, last])


def _events() -> _Object:
    summary = "The changes of lists as server-sent events, until either side ends the stream."
    profile = [each for each in _view() if each["name"] == "profile"]
    since = _parameter("since", "The last version that the client saw.", _TEXT)
    last = _parameter("Last-Event-ID", "The same, as a browser says it; it counts first.", _TEXT, where="header")
    return _operation(summary, {"200": _content("The stream.", "text/event-stream")}, [*profile, since, last])


def _metrics() -> _Object:
    plain = _content("The metrics; `Accept` chooses their form.", "text/plain")
    plain["content"]["application/openmetrics-text"] = {"schema": _TEXT}
    return plain


def _sign_in() -> _Object:
    form = {"type": "object", "properties": {"token": _TEXT}, "required": ["token"]}
    answers = {
        "204": {"description": "The answer has the cookie."},
        "303": {"description": "Likewise, for a form without a script: go to the page."},
    }
    body = {"content": {"application/x-www-form-urlencoded": {"schema": form}}}
    return _operation("Trade the token for a cookie.", answers) | {"requestBody": body}


def _publish() -> _Object:
    texts = ("reason", "profile", "session_id", "stream_id")
    event = _object({"kind": {"enum": list(KINDS)}, **dict.fromkeys(texts, _TEXT)}, required=["kind"])
    answers = {"204": {"description": "It is applied here."}}
    body = {"content": {"application/json": {"schema": event}}}
    return _operation("Publish an event; it needs the gateway's own origin, or the token.", answers) | {
        "requestBody": body
    }


def _asset() -> _Object:
    path = _parameter("path", "The name of the file.", _TEXT, where="path") | {"required": True}
    answers = {
        "200": {"description": "The file."},
        "206": {"description": "The part of it that `Range` names."},
        "304": {"description": "The client has it already."},
        "404": _error("There is no such file."),
        "416": _error("The file has no such part."),
    }
    return _operation("A part of the page.", answers, [path])


def _operation(summary: str, answers: _Object, parameters: Iterable[_Object] = ()) -> _Object:
    shared = {str(status.value): {"$ref": f"#/components/responses/{status.value}"} for status in _REFUSALS}
    return {"summary": summary, "parameters": list(parameters), "responses": shared | answers}


def _view() -> list[_Object]:
    return [_parameter(each.name, each.meaning, each.schema) for each in VIEW_FIELDS]


def _parameter(name: str, meaning: str, schema: Mapping[str, object], *, where: str = "query") -> _Object:
    return {"name": name, "in": where, "description": meaning, "schema": schema}


def _found(schema: str) -> _Object:
    return {"200": _json("It.", schema)}


def _json(meaning: str, schema: str) -> _Object:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"description": meaning, "content": content}


def _content(meaning: str, media_type: str) -> _Object:
    return {"description": meaning, "content": {media_type: {"schema": _TEXT}}}


def _error(meaning: str) -> _Object:
    return _json(meaning, "Error")


def _no_profile() -> _Object:
    return {"404": _error("The home has no such profile.")}


def _schemas() -> _Object:
    explanation, build = _schema_of(Explanation), _with(_schema_of(BuiltBy), key=_TEXT)
    view = {"anyOf": [_schema_of(SessionListKey), _TEXT]}
    entry = {
        name: each for name, each in explanation["properties"].items() if name not in {"stamp", "builds", "events"}
    }
    parts = {
        "at_s": {"type": "number"},
        "incarnation": _TEXT,
        "ttl_s": {"type": "number"},
        "streaming_ttl_s": {"type": "number"},
        "entries": _array(_object(entry | {"key": _TEXT, "view": view})),
        "builds": _array(build),
        "events": _array({"type": "object"}),
        "streams": _array(_schema_of(ActiveStream)),
        "scopes": _array(_schema_of(KnownScope)),
        "left_out": {"type": "object", "additionalProperties": {"type": "integer"}},
    }
    return {
        "Error": _object({"error": _TEXT, "field": _TEXT}, required=["error"]),
        "SessionList": _object({"sessions": _array(_object({"session_id": _TEXT}))}),
        "Patch": _object(
            {each.name: {} for each in fields(Patch) if each.name not in {"lookup", "source"}}
            | {"since": _TEXT, "edition": _TEXT, "rows": _array({"type": "object"}), "gone": _array({})}
        ),
        "Explanation": _with(explanation, key=view, story=_TEXT),
        "Overview": _object({"stats": _schema_of(Stats), **parts}),
        "Health": _schema_of(Health),
        "Ready": _object({"ready": {"type": "boolean"}}),
        "SignedIn": _object({"signed_in": {"type": "boolean"}}),
        "Description": _object({"openapi": _TEXT, "paths": {"type": "object"}}),
    }


def _object(properties: _Object, required: list[str] | None = None) -> _Object:
    return {"type": "object", "properties": properties, "required": required or list(properties)}


def _with(schema: _Object, **properties: _Object) -> _Object:
    return _object(schema["properties"] | properties)


def _array(items: _Object) -> _Object:
    return {"type": "array", "items": items}


def _schema_of(kind: type) -> _Object:
    """Return the schema of the JSON that a dataclass becomes."""
    hints = get_type_hints(kind)
    return _object({each.name: _schema(hints[each.name]) for each in fields(kind) if each.init})


def _schema(hint: Any) -> _Object:
    """Return the schema of the JSON that a value of a type becomes."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint in _SCALARS:
        return {"type": _SCALARS[hint]}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in {Union, UnionType}:
        return {"anyOf": list(map(_schema, arguments))}
    if origin in {tuple, frozenset}:
        return _array(_schema(arguments[0]))
    if origin is Mapping:
        return {"type": "object", "additionalProperties": _schema(arguments[1])}
    return {}
