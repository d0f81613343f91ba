"""The tests of one room can be run alone, and no test file is left out of all rooms."""

from pathlib import Path

from tests.rooms import _ROOMS, files_of

_ROOT = Path(__file__).parents[2]
_OF_NO_ROOM = {
    "test_api_types.py",
    "test_dependencies.py",
    "test_list_types.py",
    "test_measures.py",
    "test_public_names.py",
    "test_rooms.py",
    "test_wheel.py",
}


def test_every_test_file_belongs_to_a_room() -> None:
    files = {str(path.relative_to(_ROOT)) for path in (_ROOT / "tests").rglob("test_*.py")}
    sorted_files = {file for room in _ROOMS for file in files_of(room)}

    left_out = {Path(file).name for file in files - sorted_files if "benchmarks" not in file}

    assert left_out <= _OF_NO_ROOM


def test_a_name_that_names_a_room_counts_more_than_imports() -> None:
    assert "tests/integration/test_cache_journal.py" in files_of("journal")
    assert "tests/integration/test_cache_threads.py" not in files_of("journal")
    assert not any("e2e" in file for file in files_of("journal"))
