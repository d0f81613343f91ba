"""`hermes-cache serve` over a home beside which Claude Code is used (X11, X12)."""

import json
from pathlib import Path

from hermes_cache.samples.claude_code import append_message, make_transcripts
from tests.e2e.gateway_process import connect, served

LIST = "/api/sessions?show_cli=1&show_claude_code=1"


def test_the_sessions_of_claude_code_are_served_with_their_secrets_masked(home: Path, tmp_path: Path) -> None:
    """X11, X12, B8"""
    files = make_transcripts(tmp_path / "projects", sessions=5)
    append_message(files[0].with_name("mine.jsonl"), "Ask for password=hunter2", at_s=2e9)

    with served("--home", str(home), claude_code=tmp_path / "projects") as (_, url):
        connection = connect(url)
        connection.request("GET", LIST)
        body = connection.getresponse().read()
        connection.close()

    titles = [row["title"] for row in json.loads(body)["sessions"] if row["source_tag"] == "claude_code"]
    assert (len(titles), titles[0]) == (6, "Ask for password=***")
