"""Rule D2: what applies patches, in Python and in JavaScript, holds the vectors of the property test."""

import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

from hermes_cache.payload.applying import applied
from tests.property import patch_vectors
from tests.waiting import PROCESS_S

_NODE = shutil.which("node")
_CHECK = """
import { readFileSync } from "node:fs";
import { deepStrictEqual, throws } from "node:assert";
import { applied } from "./patches.mjs";

const lines = readFileSync(process.argv[2], "utf8").trimEnd().split("\\n");
for (const line of lines) {
  const { view, patch, expected } = JSON.parse(line);
  const next = applied(view, patch);
  deepStrictEqual(next, { edition: patch.edition, body: expected }, line);
  deepStrictEqual(view, JSON.parse(line).view, "the view given stays as it is");
  throws(() => applied({ edition: "another", body: view.body }, patch), /is for the edition/);
}
console.log(lines.length);
"""


def test_python_holds_the_vectors() -> None:
    """D2"""
    vectors = patch_vectors.read()

    results = [applied(vector["view"]["body"], vector["patch"]) for vector in vectors]

    assert results == [vector["expected"] for vector in vectors]
    assert len(results) > 30
    assert any(vector["patch"]["lists"] for vector in vectors)


@pytest.mark.skipif(_NODE is None, reason="node is not here; install it, as by `apt-get install nodejs`")
def test_javascript_holds_the_vectors(tmp_path: Path) -> None:
    """D2: within numbers of 2^53"""
    source = files("hermes_cache.gateway").joinpath("page/patches.js").read_text(encoding="utf-8")
    (tmp_path / "patches.mjs").write_text(source, encoding="utf-8")
    (tmp_path / "check.mjs").write_text(_CHECK, encoding="utf-8")
    command = [str(_NODE), str(tmp_path / "check.mjs"), str(patch_vectors.PATH)]

    checked = subprocess.run(command, capture_output=True, text=True, timeout=PROCESS_S, check=False)  # noqa: S603 - our own

    assert (checked.stderr, checked.stdout.strip()) == ("", str(len(patch_vectors.read())))
