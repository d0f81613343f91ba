"""Who is let in has a right to it, whatever a request says. The laws of rule W5, apart from the decision."""

from hypothesis import given, settings
from hypothesis import strategies as st

from hermes_cache.gateway.access import Access, Facts
from hermes_cache.gateway.settings import GatewaySettings
from hermes_cache.gateway.tokens import cookie_for

TOKEN = "correct-horse-battery"  # noqa: S105 -- a token of the tests
NOW_S = 1_800_000_000.0
COOKIE = cookie_for(TOKEN, NOW_S)
OWN_ORIGINS = {"http://localhost:8787", "http://127.0.0.1:8787", "https://box.example"}
HOSTS = ["localhost", "127.0.0.1:8787", "box.example", "evil.example", "localhost:x", "", "a@localhost"]
KNOWN_HOSTS = {"localhost", "127.0.0.1:8787", "box.example"}

facts = st.builds(
    Facts,
    method=st.sampled_from(["GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE"]),
    path=st.sampled_from(["/", "/api/sessions", "/api/events", "/sign-in", "/page/app.js", "/page", "//", "*"]),
    scheme=st.just("http"),
    address=st.just("127.0.0.1"),
    port=st.just(8787),
    peer_is_local=st.booleans(),
    hosts=st.lists(st.sampled_from(HOSTS), max_size=2).map(tuple),
    origin=st.sampled_from([None, "null", "", "http://evil.example", "http://box.example", *OWN_ORIGINS]),
    fetch_site=st.sampled_from([None, "same-origin", "same-site", "cross-site", "none", "x"]),
    fetch_mode=st.sampled_from([None, "navigate", "cors", "no-cors"]),
    fetch_dest=st.sampled_from([None, "document", "iframe", "empty", "image"]),
    accept=st.sampled_from([None, "text/html", "*/*"]),
    authorization=st.sampled_from([None, "Bearer", "Bearer x", f"Bearer {TOKEN}", f"Basic {TOKEN}"]),
    cookies=st.lists(st.sampled_from(["x", COOKIE, COOKIE[:-1]]), max_size=2).map(tuple),
)
OPEN = GatewaySettings()
GUARDED = GatewaySettings(token=TOKEN, origins=("https://box.example",))


@settings(max_examples=1_000)
@given(facts)
def test_who_is_let_in_by_a_guarded_gateway_has_a_right_to_it(asked: Facts) -> None:
    # Proves W5.
    if Access(GUARDED, lambda: NOW_S, writes=("/api/events", "/sign-in")).refusal(asked) is not None:
        return

    shows_token = asked.authorization == f"Bearer {TOKEN}"
    assert len([host for host in asked.hosts if host]) == 1
    assert KNOWN_HOSTS.issuperset(filter(None, asked.hosts))
    is_file_of_own_page = asked.path == "/page/app.js" and asked.fetch_site == "same-origin"
    assert asked.origin is None or asked.origin in OWN_ORIGINS or is_file_of_own_page
    if asked.fetch_site not in {None, "same-origin", "none"}:
        assert (asked.path, asked.fetch_mode, asked.fetch_dest) == ("/", "navigate", "document")
    if asked.method in {"POST", "PUT", "DELETE"}:
        assert asked.path in {"/api/events", "/sign-in"}
        assert asked.path == "/sign-in" or asked.origin in OWN_ORIGINS or shows_token
    if asked.path not in {"/sign-in", "/page/app.js"}:
        assert shows_token or COOKIE in asked.cookies


@settings(max_examples=300)
@given(facts)
def test_a_gateway_without_a_token_answers_this_machine_alone(asked: Facts) -> None:
    # Proves W5.
    if Access(OPEN, lambda: NOW_S).refusal(asked) is None and asked.path not in {"/sign-in", "/page/app.js"}:
        assert asked.peer_is_local
        assert asked.method in {"GET", "HEAD", "OPTIONS"}


@settings(max_examples=300)
@given(facts)
def test_a_client_with_the_token_and_no_page_behind_it_can_read(asked: Facts) -> None:
    # Proves W5: the laws above are not kept by refusing everybody.
    is_program = asked.origin is None and asked.fetch_site is None and asked.authorization == f"Bearer {TOKEN}"
    knows_host = len(asked.hosts) == 1 and asked.hosts[0] in KNOWN_HOSTS

    if is_program and knows_host and asked.method in {"GET", "HEAD", "OPTIONS"}:
        assert Access(GUARDED, lambda: NOW_S).refusal(asked) is None
