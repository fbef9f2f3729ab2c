"""A sentence leads to a lab that is proved before a file is written, or to a plain answer."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, command_line, git
from ollama_server import OllamaModel, OllamaServer
from server_behaviours import say
from small_repositories import NODE, NOTHING, PAGE, PYTHON, QUICK_PARSER, TERRAFORM, C, repository

MODEL = "qwen3-coder:30b"


def needs(program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed here")


@pytest.fixture(scope="module")
def server() -> Iterator[OllamaServer]:
    with OllamaServer(OllamaModel(MODEL, parameters="30.5B")) as running:
        yield running


def about(root: Path, sentence: str, *more: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `init --about` with two runs for the proof."""
    return command_line("init", "--about", sentence, "--runs", "2", *more, cwd=root, **environment)


def made(root: Path, sentence: str, *more: str, **environment: str) -> dict[str, Any]:
    """Make a lab; return what --json says about it."""
    done = about(root, sentence, "--yes", "--json", *more, **environment)
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    assert {finding["state"] for finding in said["findings"]} <= {"ok", "note"}
    assert {"number", "time", "noise", "follows", "broken"} <= {finding["name"] for finding in said["findings"]}
    assert sorted(said["written"]) == said["files"] and (root / "lab.toml").is_file()
    return said


def night(root: Path, *edits: Mapping[str, str]) -> list[tuple[str, str]]:
    """Commit the lab, propose each edit, and return the status and the reason of each experiment."""
    settings = (root / "lab.toml").read_text()
    if "[judge]" not in settings:  # one run of each edit is enough here: the gains are large
        (root / "lab.toml").write_text(f'{settings}\n[judge]\nmode = "margin"\nmargin = 0\n')
    git(root, "add", "-A")
    git(root, "commit", "--quiet", "-m", "a lab")
    script = root.parent / "edits.jsonl"
    script.write_text(
        "".join(json.dumps({"files": files, "title": f"edit {n}"}) + "\n" for n, files in enumerate(edits))
    )
    done = command_line("run", "--agent", f"scripted:{script}", "--experiments", str(len(edits)), cwd=root)
    assert done.returncode == 0, done.stderr
    lines = map(json.loads, command_line("log", "--json", cwd=root).stdout.splitlines())
    return [(each["status"], each["reason"]) for each in lines if each["number"] > 0]


@pytest.mark.slow
def test_python_gets_a_lab_by_the_calls_of_its_tests(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "about-labs.md").read_text()
    (sentence,) = set(re.findall(r'^\$ autoresearch-mlx init --about "(.*?)"(?: --yes)?$', page, re.MULTILINE))
    root = repository(tmp_path / "python", PYTHON)
    said = made(root, sentence)
    assert (said["by"], said["metric"], said["direction"]) == ("rules", "seconds", "min")
    assert said["editable"] == ["src/parse.py"]
    assert [check["name"] for check in said["checks"]] == ["tests", "same_results"]
    cheat = QUICK_PARSER.replace("value.strip()", "value.strip()[:7]")
    (wrong, reason), (quick, _) = night(root, {"src/parse.py": cheat}, {"src/parse.py": QUICK_PARSER})
    assert (wrong, quick) == ("invalid", "keep")
    assert "the check 'same_results' failed" in reason and "parse gives a different result than at first" in reason


@pytest.mark.slow
def test_node_gets_a_lab_by_npm_test(tmp_path: Path) -> None:
    needs("npm")
    root = repository(tmp_path / "node", NODE)
    said = made(root, "make lib/slug.js faster")
    assert (said["metric"], said["editable"]) == ("seconds", ["lib/slug.js"])
    assert [check["name"] for check in said["checks"]] == ["tests", "same_results"]
    assert said["checks"][0]["run"] == "npm test --silent"


@pytest.mark.slow
def test_c_gets_a_lab_by_make_test(tmp_path: Path) -> None:
    needs("gcc")
    root = repository(tmp_path / "c", C)
    said = made(root, "make the sorting faster")
    assert (said["metric"], said["editable"]) == ("seconds", ["sort.c"])
    assert said["checks"][0]["run"] == "make -s test"


@pytest.mark.slow
def test_a_page_gets_a_lab_by_the_bytes_of_its_files(tmp_path: Path) -> None:
    root = repository(tmp_path / "page", PAGE)
    said = made(root, "make the page lighter")
    assert (said["metric"], said["editable"]) == ("gzip_bytes", ["index.html", "style.css"])
    bare = PAGE["index.html"].replace("  <!-- everything about the shop -->\n", "")
    poorer = {"index.html": bare.replace("<p>All that you need.</p>", "")}
    (wrong, reason), (light, _) = night(root, poorer, {"index.html": bare, "style.css": ".top{color:#333}"})
    assert (wrong, light) == ("invalid", "keep")
    assert "the text of index.html differs from the first version" in reason


@pytest.mark.slow
def test_terraform_gets_a_lab_by_its_findings(tmp_path: Path) -> None:
    root = repository(tmp_path / "terraform", TERRAFORM)
    said = made(root, "fewer failed checks in the Terraform files")
    assert (said["metric"], said["editable"]) == ("findings", ["main.tf", "variables.tf"])
    private = TERRAFORM["main.tf"].replace("public-read", "private")
    gone = private[: private.index('resource "aws_security_group"')]
    (wrong, reason), (better, _) = night(root, {"main.tf": gone}, {"main.tf": private})
    assert (wrong, better) == ("invalid", "keep") and "aws_security_group.web is gone" in reason


@pytest.mark.slow
def test_where_nothing_can_be_measured_the_answer_is_plain(tmp_path: Path) -> None:
    root = repository(tmp_path / "nothing", NOTHING)
    done = about(root, "make it better", "--yes")
    assert done.returncode == 1 and "nothing here can be measured" in done.stderr
    assert "hint: write a program that prints METRIC name=value" in done.stderr
    assert git(root, "status", "--porcelain") == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("files", "reply", "metric"),
    [
        (PYTHON, {"number": "size", "editable": ["src/parse.py"], "guard": None}, "lines"),
        (PAGE, {"number": "page", "editable": ["index.html"], "guard": None}, "gzip_bytes"),
        (TERRAFORM, {"number": "terraform", "editable": ["main.tf"], "guard": None}, "findings"),
    ],
    ids=["python", "page", "terraform"],
)
def test_a_model_chooses_number_and_files(
    files: dict[str, str], reply: dict[str, Any], metric: str, tmp_path: Path, server: OllamaServer
) -> None:
    server.then(say(json.dumps(reply)))
    root = repository(tmp_path / "lab", files)
    said = made(root, "do better", OLLAMA_HOST=server.url)
    assert (said["by"], said["metric"], said["editable"]) == (f"ollama:{MODEL}", metric, reply["editable"])
    assert "do better" in server.chats[-1].prompt


def test_a_model_is_not_asked_where_nothing_can_be_measured(tmp_path: Path, server: OllamaServer) -> None:
    before = len(server.chats)
    done = about(repository(tmp_path / "lab", NOTHING), "do better", "--yes", OLLAMA_HOST=server.url)
    assert done.returncode == 1 and "nothing here can be measured" in done.stderr
    assert len(server.chats) == before


@pytest.mark.slow
def test_a_useless_reply_leaves_the_choice_to_the_rules_and_nothing_is_written_without_yes(
    tmp_path: Path, server: OllamaServer
) -> None:
    server.then(say(json.dumps({"number": "page", "editable": ["../../etc/passwd"], "guard": "rm -rf /"})))
    root = repository(tmp_path / "lab", PAGE)
    (root / "index.html").write_text("<p>half an edit\n")
    (root / "new.html").write_text("<p>new\n")
    (root / "env").mkdir()
    (root / "env" / "pyvenv.cfg").touch()
    done = about(root, "make the page lighter", OLLAMA_HOST=server.url)
    assert done.returncode == 0 and 'run = "python3 measuring/page_weight.py"' in done.stdout
    assert "names the file '../../etc/passwd', which is not one of the repository's own files" in done.stderr
    assert "note: 2 files with changes that are not committed (index.html, new.html)" in done.stderr
    assert "nothing was written; --yes writes the files" in done.stderr
    assert git(root, "status", "--porcelain") == "M index.html\n?? env/\n?? new.html"
    assert (root / "index.html").read_text() == "<p>half an edit\n"


@pytest.mark.slow
def test_at_a_terminal_what_is_open_is_asked(tmp_path: Path) -> None:
    root = repository(tmp_path / "lab", {**PAGE, **TERRAFORM})
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "autoresearch_mlx", "init", "--about", "do good", "--runs", "2"]
    process = subprocess.Popen(command, cwd=root, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    os.write(ours, b"1\ny\n")
    shown = b""
    with suppress(OSError):  # on Linux, reading from a closed terminal is an error
        while piece := os.read(ours, 65536):
            shown += piece
    os.close(ours)
    assert process.wait(60) == 0
    text = shown.decode()
    assert "Which number should get better?" in text and "Write these files?" in text
    assert "wrote lab.toml" in text and (root / "measuring" / "page_weight.py").is_file()
