"""Six small repositories, as people have them: Python, Node, C, a page, Terraform, and one with nothing to measure."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from conftest import git

PARSER = '''\
"""Read lines key=value."""


def parse(text):
    """Return the pairs of a text."""
    found = {}
    for line in text.split("\\n"):
        if "=" not in line:
            continue
        key, value, seen = "", "", False
        for character in line:
            if character == "=" and not seen:
                seen = True
            elif seen:
                value = value + character
            else:
                key = key + character
        found[key.strip()] = value.strip()
    return found
'''
QUICK_PARSER = """\
def parse(text):
    pairs = (line.split("=", 1) for line in text.split("\\n") if "=" in line)
    return {key.strip(): value.strip() for key, value in pairs}
"""
PARSER_TESTS = """\
import unittest

from src.parse import parse


class Parse(unittest.TestCase):
    def test_pairs(self):
        self.assertEqual(parse("a = 1\\nb=2=3\\n# no"), {"a": "1", "b": "2=3"})

    def test_many(self):
        self.assertEqual(len(parse("\\n".join(f"key{n} = value {n}" for n in range(200)))), 200)
"""
PYTHON = {"src/__init__.py": "", "src/parse.py": PARSER, "tests/__init__.py": "", "tests/test_parse.py": PARSER_TESTS}

SLUG = """\
// Turn a title into a slug.
function slug(title) {
  let result = '';
  for (const c of title.toLowerCase()) {
    if (/[a-z0-9]/.test(c)) {
      result = result + c;
    } else if (result.length > 0 && result[result.length - 1] !== '-') {
      result = result + '-';
    }
  }
  return result.replace(/-$/, '');
}

module.exports = { slug };
"""
SLUG_TESTS = """\
const assert = require('node:assert');
const { slug } = require('../lib/slug.js');

assert.strictEqual(slug('Hello, World!'), 'hello-world');
assert.strictEqual(slug('  a  b '), 'a-b');
"""
NODE = {
    "package.json": '{"name": "slug", "version": "1.0.0", "scripts": {"test": "node test/slug.test.js"}}\n',
    "lib/slug.js": SLUG,
    "test/slug.test.js": SLUG_TESTS,
}

SORT = """\
#include "sort.h"

void sort(int *values, int count) {
    for (int i = 0; i < count; i++) {
        for (int j = 0; j + 1 < count - i; j++) {
            if (values[j] > values[j + 1]) {
                int t = values[j];
                values[j] = values[j + 1];
                values[j + 1] = t;
            }
        }
    }
}
"""
SORT_TESTS = """\
#include <assert.h>
#include "sort.h"

int main(void) {
    static int values[500];
    for (int i = 0; i < 500; i++) values[i] = (i * 7919) % 1000;
    sort(values, 500);
    for (int i = 1; i < 500; i++) assert(values[i - 1] <= values[i]);
    return 0;
}
"""
C = {
    "Makefile": "test_sort: test_sort.c sort.c sort.h\n\t$(CC) -o $@ test_sort.c sort.c\n\n"
    "test: test_sort\n\t./test_sort\n\n.PHONY: test\n",
    "sort.h": "void sort(int *values, int count);\n",
    "sort.c": SORT,
    "test_sort.c": SORT_TESTS,
    ".gitignore": "test_sort\n",
}

PAGE = {
    "index.html": '<!DOCTYPE html>\n<html lang="en">\n<head>\n  <title>A shop</title>\n'
    '  <link rel="stylesheet" href="style.css">\n</head>\n<body>\n  <!-- everything about the shop -->\n'
    '  <h1 id="title" class="top">The shop</h1>\n  <a href="https://example.org/">Elsewhere</a>\n'
    '  <p>All that you need.</p>\n  <img src="logo.svg" alt="A logo">\n</body>\n</html>\n',
    "style.css": "/* The colours of the house */\n.top {\n    color: #333333;\n}\n\n.unused {\n    color: red;\n}\n",
    "logo.svg": '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>\n',
}

TERRAFORM = {
    "main.tf": 'provider "aws" {\n  region = "eu-west-1"\n}\n\nresource "aws_s3_bucket" "logs" {\n'
    '  bucket = "logs-of-the-house"\n  acl    = "public-read"\n}\n\nresource "aws_security_group" "web" {\n'
    '  name = "web"\n\n  ingress {\n    from_port   = 22\n    to_port     = 22\n    protocol    = "tcp"\n'
    '    cidr_blocks = ["0.0.0.0/0"]\n  }\n}\n',
    "variables.tf": 'variable "size" {\n  default = 3\n}\n',
}
NOTHING = {"README.md": "# A diary\n", "day.txt": "Today it rained.\n"}


def repository(root: Path, files: Mapping[str, str]) -> Path:
    """Write the files and commit them; return the folder.

    Its ``.venv`` has this Python without packages, so that it starts at once, whatever ``python3`` is on PATH.
    """
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    git(root, "init", "--quiet")
    (root / ".venv" / "bin").mkdir(parents=True)
    python = root / ".venv" / "bin" / "python3"
    python.write_text(f'#!/bin/sh\nexec {Path(sys.executable).resolve()} -S "$@"\n')
    python.chmod(0o755)
    (root / ".git" / "info" / "exclude").write_text(".venv\n")
    git(root, "add", "-A")
    git(root, "commit", "--quiet", "-m", "as it is")
    return root
