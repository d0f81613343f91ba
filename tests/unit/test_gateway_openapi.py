"""Rule W1: the description of the interface has every route, parameter and body."""

from dataclasses import fields
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount, Route

from hermes_cache import Bus, HermesHome, SessionListCache, SessionListKey
from hermes_cache.gateway.app import create_app
from hermes_cache.gateway.openapi import description
from hermes_cache.testing import GatedBuilder


@pytest.fixture
def app(tmp_path: Path) -> Starlette:
    return create_app(SessionListCache(GatedBuilder(), bus=Bus()), HermesHome(tmp_path))


def methods_of(route: object) -> set[str]:
    if isinstance(route, Mount):
        return {"get"}
    assert isinstance(route, Route)
    # One that names no methods is a file of the page.
    return {method.lower() for method in (route.methods or {"GET"}) - {"HEAD"}}


def test_each_route_is_described_with_its_methods_and_no_other(app: Starlette) -> None:
    """W1"""
    routes = {
        route.path + ("/{path}" if isinstance(route, Mount) else ""): methods_of(route)
        for route in app.routes
        if isinstance(route, Route | Mount)
    }

    described = {path: set(operations) for path, operations in description()["paths"].items()}

    assert described == routes


def test_each_field_of_a_view_is_a_parameter_of_its_list_and_of_its_explanation() -> None:
    """W1, K1"""
    names = [each.name for each in fields(SessionListKey) if each.init and each.name != "extra"]
    paths = description()["paths"]

    for path in ("/api/sessions", "/api/sessions/follow", "/api/explain"):
        described = [each["name"] for each in paths[path]["get"]["parameters"] if each["in"] == "query"]
        assert [name for name in described if name != "since"] == names


def test_all_that_the_description_refers_to_is_in_it() -> None:
    """W1"""
    described = description("/hermes")

    def look(part: object) -> None:
        if isinstance(part, dict):
            if "$ref" in part:
                _, _, kind, name = part["$ref"].split("/")
                assert name in described["components"][kind]
            for each in part.values():
                look(each)
        elif isinstance(part, list):
            for each in part:
                look(each)

    look(described)
    assert described["servers"] == [{"url": "/hermes"}]
