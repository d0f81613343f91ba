"""A threaded gateway: a thread for each request, one build for all of them, and 304 if nothing has changed."""

from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from hermes_cache import Policy, SessionListCache, SessionListKey
from hermes_cache.integrations import wsgi

TABS = 8


def build(_key: SessionListKey) -> dict[str, object]:
    return {"sessions": [{"session_id": "s1", "title": "Plan the garden"}]}


def handler_of(cache: SessionListCache) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wsgi.reply(self, wsgi.respond(cache, SessionListKey(), wsgi.environ_of(self)))

        def log_message(self, *_args: object) -> None:
            """Keep the output to what the example prints."""

    return Handler


def ask(port: int, tag: str = "") -> tuple[int, str, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/", headers={"If-None-Match": tag})
    response = connection.getresponse()
    return response.status, response.headers["ETag"], response.read().decode()


def main() -> None:
    with (
        SessionListCache(build, policy=Policy(ttl=60)) as cache,
        ThreadingHTTPServer(("127.0.0.1", 0), handler_of(cache)) as server,
        ThreadPoolExecutor(TABS) as tabs,
    ):
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        answers = set(tabs.map(ask, [server.server_port] * TABS))
        print(f"{TABS} tabs, {len(answers)} answer, {cache.stats().builds} build")
        status, tag, body = answers.pop()
        print(status, body)
        print("a later poll:", ask(server.server_port, tag)[0])
        server.shutdown()


if __name__ == "__main__":
    main()
