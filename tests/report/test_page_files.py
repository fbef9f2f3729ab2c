"""``report`` writes three files or none; tested by the real command in real labs."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from command_runs import STEPS, call, data, refused, script
from conftest import write_command_lab
from markdown_it import MarkdownIt
from report.nights import night, write_session
from report.pages import Night

from autoresearch_mlx.errors import LabError
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.report.page.gather import page_of
from autoresearch_mlx.report.page.html import HTML, PICTURE, TEXT, render_html, write_report
from autoresearch_mlx.report.page.markdown import code, plain, render_text
from autoresearch_mlx.store.ledger import FILE
from autoresearch_mlx.store.locks import locked


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Make a lab whose session has one experiment of each outcome."""
    lab = write_command_lab(tmp_path_factory.mktemp("night") / "lab")
    assert call(lab, "run", "--tag", "t", "--agent", script(lab, *STEPS), "--experiments", "5").returncode == 0
    return lab


@pytest.mark.slow
def test_the_command_writes_a_page_a_picture_and_a_text(lab: Lab) -> None:
    done = call(lab, "report")
    names = [Path(line).name for line in done.stdout.splitlines()]
    assert (done.returncode, done.stderr, names) == (0, "", [HTML, PICTURE, TEXT])
    folder = lab.folder("t") / "report"
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
    page = (folder / HTML).read_text()
    assert "X nearer" in page and "+9.750000" in page
    assert "-X = 4.0" in page and "+X = 3.5" in page, "the winning diff"
    assert (folder / PICTURE).read_bytes().startswith(b"\x89PNG")
    assert "`Y right 試`" in (folder / TEXT).read_text()


@pytest.mark.slow
def test_the_figures_go_to_stdout_and_no_file_is_written(lab: Lab, tmp_path: Path) -> None:
    before = sorted(lab.state.rglob("*"))
    told = data(lab, "report")
    assert told["standing"]["gain"] == pytest.approx(9.75)
    assert [row["status"] for row in told["experiments"]] == ["keep", "keep", "discard", "crash", "duplicate", "keep"]
    assert told["certified"] is None and told["noise"]["sigma"] == 0.0
    assert sorted(lab.state.rglob("*")) == before
    assert "leave out --out" in refused(lab, "report", "--json", "--out", str(tmp_path), code=2)


def test_it_works_while_somebody_holds_the_session(lab: Lab, tmp_path: Path) -> None:
    with locked(lab.folder("t")):
        done = call(lab, "report", "--out", str(tmp_path / "a" / "b"))
    assert done.returncode == 0
    assert "running now" in (tmp_path / "a" / "b" / HTML).read_text()


def test_a_damaged_ledger_is_named_and_nothing_is_written(lab: Lab, tmp_path: Path) -> None:
    copy = lab.folder("u")
    copy.mkdir()
    ledger = (lab.folder("t") / FILE).read_text().replace('"value": 10.25', '"value": "10,25"', 1)
    (copy / FILE).write_text(ledger)
    at = next(n for n, line in enumerate(ledger.split("\n"), 1) if '"10,25"' in line)
    said = refused(lab, "report", "--tag", "u", "--out", str(tmp_path / "out"))
    assert f"{FILE}, line {at}: value is not a finite number" in said
    assert not (tmp_path / "out").exists()
    (copy / FILE).write_text("commit\tval_bpb\tmemory_gb\tstatus\tdescription\n")
    assert f"{FILE}, line 1: " in refused(lab, "report", "--tag", "u", "--out", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_folder_that_cannot_be_is_named_and_an_old_report_stays(session: Path, tmp_path: Path) -> None:
    page = page_of(session, session)
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(LabError, match="taken cannot be written"):
        write_report(page, tmp_path / "taken")
    out = tmp_path / "out"
    write_report(page, out)
    old = (out / HTML).read_bytes()
    (out / f"{TEXT}.tmp").mkdir()
    with pytest.raises(LabError, match="cannot be written"):
        write_report(page, out)
    assert (out / HTML).read_bytes() == old and not (out / f"{HTML}.tmp").exists()


@pytest.mark.slow
@pytest.mark.uncounted
def test_a_thousand_experiments_take_seconds_and_stay_small(tmp_path: Path) -> None:
    """Logs and rationales are as long as possible, and consist of the character that takes most space in the page."""
    folder = Night(1000, hostile="<" * 400).write(tmp_path / ".autoresearch" / "jul14", tmp_path)
    began = time.monotonic()
    files = write_report(page_of(folder, tmp_path), folder / "report")
    assert time.monotonic() - began < 20  # it takes 3 s on two idle cores; the limit is for busy ones
    assert files[0].stat().st_size < 5_000_000
    cut = [row for row in page_of(folder, tmp_path).experiments if row.log_cut]
    assert cut, "what is cut is said to be"


def test_the_page_names_no_place_to_load_anything_from(session: Path) -> None:
    page = render_html(page_of(session, session))
    for needle in ("http://", "https://", " src=", "@import", "url("):
        assert needle not in page.replace("http://www.w3.org/2000/svg", ""), needle
    assert "default-src 'none'" in page


@pytest.mark.parametrize(
    "title",
    [
        "a | b `c` <img src=x> @everyone\n## heading [x](javascript:1)",
        "1 \\| 2 \\\\| 3 | ``` </code></details><script>x</script>",
        "`` ends` [x](http://a.example) **bold** &lt; &#124; ~~~",
        "\u202e\u2066backwards\x1b[31m\x00\u2028| --- |\u0085# heading",
    ],
)
def test_foreign_text_is_only_text_in_the_post(tmp_path: Path, title: str) -> None:
    hostile = night()
    at = next(at for at, e in enumerate(hostile) if e.number > 0 and e.status == "keep")
    hostile[at] = replace(hostile[at], title=title, axis=title)
    text = render_text(page_of(write_session(tmp_path / "s", hostile), tmp_path))
    rows = [row for row in MarkdownIt("commonmark").enable("table").parse(text) if row.type == "inline"]
    shown = " ".join(title.replace("\x1b[31m", "").translate(dict.fromkeys(b"\x00", " ")).split())
    shown = " ".join("".join(c if c.isprintable() else " " for c in shown).split())
    cells = [row for row in rows if row.content == code(shown)]
    assert len(cells) == 2, "its title and its axis, each in one cell"
    for cell in cells:
        inside = [child for child in cell.children or () if child.content not in ("<code>", "</code>")]
        assert "".join(child.content for child in inside) == shown
        assert {child.type for child in inside} <= {"code_inline", "text", "text_special"}


def test_prose_of_a_foreign_log_is_escaped() -> None:
    assert plain("a [b](c) *d* <e>\n# f | g") == r"a \[b\](c) \*d\* \<e\> \# f \| g"


def test_the_post_shows_no_folder_of_its_author(session: Path) -> None:
    page = page_of(session, session)
    conditions = {"corpus": "/Users/ada/corpora/stdlib-v512", "device": "gpu", "vocab_size": 512}
    text = render_text(replace(page, head=replace(page.head, conditions=conditions)))
    assert "data `stdlib-v512`" in text and "vocab_size" not in text
    assert "ada" not in text.split("## What changed")[0]


@pytest.mark.parametrize(
    ("conditions", "said"),
    [
        ({"source": "stdlib"}, True),
        ({"source": "folder"}, True),
        ({"source": "stdlib", "text_closed": True}, False),
        ({"source": "climbmix"}, False),
        ({"run": "python bench.py"}, False),
    ],
)
def test_the_page_says_when_the_edited_file_could_read_the_text(session: Path, conditions: Any, said: bool) -> None:
    page = page_of(session, session)
    page = replace(page, head=replace(page.head, conditions=conditions))
    for text in (render_html(page), render_text(page)):
        assert ("Demonstration text: the edited file could read" in text) == said


def test_six_decimals_everywhere(session: Path) -> None:
    page = page_of(session, session)
    for text in (render_html(page).split('<script type="application/json"')[0], render_text(page)):
        assert "2.512345" in text and "+0.081823" in text
