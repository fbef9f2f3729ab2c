"""Writing and reading journals."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoresearch_mlx.store.journal import append, held, json_object, mend, read_events, whole_lines, writing


def test_a_line_is_added_at_the_end_and_found_with_its_number(tmp_path: Path) -> None:
    path = tmp_path / "j"
    for line in (b"one", b"", b"two"):
        with held(path) as file:
            append(file, line)
    assert path.read_bytes() == b"one\n\ntwo\n"
    assert list(whole_lines(path)) == [(1, b"one\n"), (3, b"two\n")]


@pytest.mark.parametrize("torn", [0, 1, 65_535, 65_536, 65_537, 200_000])
@pytest.mark.parametrize("whole", [b"", b"\n", b"a\nb\n", b"x" * 70_000 + b"\n"])
def test_mending_removes_what_stands_behind_the_last_line_end(tmp_path: Path, whole: bytes, torn: int) -> None:
    path = tmp_path / "j"
    path.write_bytes(whole + b"t" * torn)
    with path.open("r+b", buffering=0) as file:
        mend(file)
    assert path.read_bytes() == whole


def test_an_event_has_its_schema_its_kind_and_its_time(tmp_path: Path) -> None:
    with writing(tmp_path / "j") as journal:
        journal.append("note", text="hello")
        assert journal.events == ()
    with writing(tmp_path / "j") as journal:
        (event,) = journal.events
    assert list(event) == ["schema", "event", "time", "text"] and event["schema"] == 1


def test_a_number_that_is_not_finite_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with writing(tmp_path / "j") as journal, pytest.raises(ValueError, match="not JSON compliant"):
        journal.append("note", value=float("nan"))
    assert read_events(tmp_path / "j").events == ()


def test_only_an_object_is_taken_from_a_line() -> None:
    assert json_object(b'{"a": 1}') == {"a": 1}
    assert [json_object(line) for line in (b"[1]", b"1", b"{", b"\xff", b"[" * 100_000)] == [None] * 5
