"""The scripts that the labs measure with: what they refuse, what they let pass, and what they count."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from small_repositories import PAGE, SLUG, TERRAFORM

pytestmark = pytest.mark.uncounted
SCRIPTS = ROOT / "recipes" / "about"


def lab(root: Path, files: Mapping[str, str], name: str, notes: Mapping[str, Any]) -> Path:
    """Write files of a lab, and beside them the measuring scripts with the notes that they read."""
    shutil.copytree(SCRIPTS, root / "measuring", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "measuring" / name).write_text(json.dumps(notes))
    for path, text in files.items():
        (root / path).write_text(text)
    return root


def script(root: Path, *arguments: str) -> tuple[int, str]:
    """Run a script; return its exit code and its output."""
    command = [sys.executable, "-S", f"measuring/{arguments[0]}", *arguments[1:]]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    notes = {"folder": ".", "kinds": [".html", ".css", ".svg"], "pages": ["index.html"], "sheets": ["style.css"]}
    root = lab(tmp_path_factory.mktemp("page"), PAGE, "page.json", notes)
    assert script(root, "page_content.py", "--write") == (0, "")
    return root


HTML, CSS = PAGE["index.html"], PAGE["style.css"]


@pytest.mark.parametrize(
    ("html", "css", "said"),
    [
        (HTML, CSS, ""),
        (HTML.replace("\n", ""), ".top{color:#333}", ""),
        (HTML.replace('"', "").replace("A logo", "'A logo'"), CSS, ""),
        (HTML.replace("<p>All that you need.</p>", "<p hidden>All that you need.</p>"), CSS, "has p hidden"),
        (HTML.replace("All that", "Most that"), CSS, "the text of index.html"),
        (HTML.replace("example.org", "example.com"), CSS, "lacks a href=https://example.org/"),
        (HTML.replace('<img src="logo.svg" alt="A logo">', ""), CSS, "lacks img"),
        (HTML.replace(' class="top"', ""), CSS, "lacks class top"),
        (HTML.replace('id="title" ', ""), CSS, "lacks id title"),
        (HTML.replace("logo.svg", "other.svg"), CSS, "refers to other.svg, which does not exist"),
        (HTML, "", "no style sheet has .top / color"),
        (HTML.replace("</head>", "<style>.top{color:#333}</style></head>"), "", ""),
        ("", CSS, "the text of index.html"),
    ],
)
def test_a_page_keeps_its_contents(page: Path, html: str, css: str, said: str) -> None:
    (page / "index.html").write_text(html)
    (page / "style.css").write_text(css)
    code, words = script(page, "page_content.py")
    assert (code == 0) == (not said) and said in words


def test_the_weight_is_that_of_all_files(page: Path) -> None:
    (page / "index.html").write_text(HTML)
    before = script(page, "page_weight.py")[1]
    (page / "more.css").write_text("a{color:red}")
    after = script(page, "page_weight.py")[1]
    (page / "more.css").unlink()
    assert "METRIC files=3" in before and "METRIC files=4" in after and before < after


@pytest.fixture(scope="module")
def terraform(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = lab(tmp_path_factory.mktemp("terraform"), TERRAFORM, "terraform.json", {"folder": "."})
    code, said = script(root, "terraform_same.py", "--write")
    assert code == 0, said
    return root


MAIN = TERRAFORM["main.tf"]


@pytest.mark.parametrize(
    ("main", "said"),
    [
        (MAIN, ""),
        (MAIN.replace("public-read", "private"), ""),
        (MAIN.replace('["0.0.0.0/0"]', '["10.0.0.0/8"]'), ""),
        (f'# a comment\n{MAIN}\nresource "aws_kms_key" "logs" {{\n  enable_key_rotation = true\n}}\n', ""),
        (MAIN.replace('acl    = "public-read"', ""), "lacks acl"),
        (MAIN.replace("eu-west-1", "us-east-1"), "region is"),
        (MAIN.replace('  name = "web"\n', '  name = "web"\n  count = 0\n'), "has count"),
        (MAIN[: MAIN.index('resource "aws_security_group"')], "aws_security_group.web is gone"),
        (MAIN.replace('resource "aws_s3_bucket" "logs" {', '/* resource "aws_s3_bucket" "logs" {') + "*/", "is gone"),
        (MAIN.rstrip().removesuffix("}"), ""),
    ],
)
def test_terraform_keeps_its_resources(terraform: Path, main: str, said: str) -> None:
    (terraform / "main.tf").write_text(main)
    code, words = script(terraform, "terraform_same.py")
    torn = main.count("{") != main.count("}")
    assert (code == 0) == (not said and not torn) and said in words


def test_the_findings_are_named(terraform: Path) -> None:
    (terraform / "main.tf").write_text(MAIN)
    said = script(terraform, "terraform_findings.py", "--list")[1]
    for words in ("acl = public-read", "port 22 is open to everybody", "the variable has no description"):
        assert words in said
    (terraform / "main.tf").write_text(MAIN.replace('  name = "web"', '  # checkov:skip=CKV_AWS_24\n  name = "web"'))
    assert "a comment tells a scanner to skip a check" in script(terraform, "terraform_findings.py", "--list")[1]


def test_tokens_are_counted_whatever_the_layout(tmp_path: Path) -> None:
    root = lab(tmp_path / "a", {"a.js": SLUG}, "tokens.json", {"editable": ["a.js"]})
    (first, *_) = script(root, "tokens.py")[1].splitlines()
    without_comment = "\n".join(line for line in SLUG.splitlines() if not line.startswith("//"))
    for text in (without_comment, " ".join(without_comment.split("\n"))):
        (root / "a.js").write_text(text)
        assert script(root, "tokens.py")[1].splitlines()[0] == first
    (root / "a.js").write_text(f"eval({json.dumps(SLUG)});\n")
    hidden = int(script(root, "tokens.py")[1].split("tokens=")[1].split()[0])
    assert hidden > int(first.split("=")[1]) // 2, "code in a string is not free"
