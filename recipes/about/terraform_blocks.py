"""Read the blocks of Terraform files: kind, labels, attributes as they are written, and the blocks inside."""

import re
from dataclasses import dataclass, field
from pathlib import Path

TOKEN = re.compile(
    r"""(?P<comment>\#[^\n]*|//[^\n]*|/\*.*?\*/)
      | (?P<here><<-?(?P<mark>\w+)\n.*?\n[ \t]*(?P=mark)(?=\n|$))
      | (?P<string>"(?:\\.|\$\{(?:[^{}"]|"(?:\\.|[^"\\])*"|\{[^{}]*\})*\}|[^"\\])*")
      | (?P<name>[A-Za-z_][\w-]*)
      | (?P<number>\d[\w.]*)
      | (?P<line>\n)
      | (?P<space>[ \t\r]+)
      | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)

SECRET = re.compile(r"password|passwd|secret|token|api_?key|access_key|private_key", re.IGNORECASE)
"""Pattern of names whose values are secrets."""


@dataclass
class Block:
    """One block."""

    kind: str
    labels: tuple
    file: str
    attributes: dict = field(default_factory=dict)
    blocks: list = field(default_factory=list)

    @property
    def name(self):
        return ".".join((self.kind, *self.labels))

    def text(self, attribute):
        """Return an attribute as it is written, without quotes around a whole string, or None if it is not set."""
        value = self.attributes.get(attribute)
        return value if value is None else value.strip().strip('"')

    def inside(self, kind):
        """Return the blocks of a kind at any depth, including those that a `dynamic` block makes."""
        found = [each for each in self.blocks if kind in (each.kind, *each.labels)]
        return found + [deeper for each in self.blocks for deeper in each.inside(kind)]


class Reader:
    """Reads one file."""

    def __init__(self, text, file):
        kept = [(m.lastgroup if m.lastgroup != "mark" else "here", m.group()) for m in TOKEN.finditer(text)]
        self.tokens = [each for each in kept if each[0] not in ("comment", "space")]
        self.at, self.file = 0, file

    def body(self, block, nested):
        """Read attributes and blocks into ``block`` until its end.  Raises ValueError for text that is not HCL."""
        while self.at < len(self.tokens):
            kind, text = self.tokens[self.at]
            if kind == "line":
                self.at += 1
            elif text == "}" and nested:
                self.at += 1
                return
            elif kind in ("name", "string"):
                self.entry(block)
            else:
                raise ValueError(f"{self.file}: {text!r} is not expected there")
        if nested:
            raise ValueError(f"{self.file}: the block {block.name} has no end")

    def entry(self, block):
        name = self.tokens[self.at][1].strip('"')
        self.at += 1
        labels = []
        while self.at < len(self.tokens) and self.tokens[self.at][0] in ("name", "string"):
            labels.append(self.tokens[self.at][1].strip('"'))
            self.at += 1
        sign = self.tokens[self.at][1] if self.at < len(self.tokens) else "the end"
        self.at += 1
        if sign == "{":
            inner = Block(name, tuple(labels), self.file)
            self.body(inner, nested=True)
            block.blocks.append(inner)
        elif sign == "=" and not labels:
            block.attributes[name] = self.value()
        else:
            raise ValueError(f"{self.file}: {sign!r} is not expected after {name}")

    def value(self):
        depth, words = 0, []
        while self.at < len(self.tokens):
            kind, text = self.tokens[self.at]
            if depth == 0 and (kind == "line" or text == "}"):
                break
            depth += (text in "([{") - (text in ")]}") if kind == "other" else 0
            if kind != "line":
                words.append(text)
            elif depth:
                words.append(",")
            self.at += 1
        if depth or not words:
            raise ValueError(f"{self.file}: a value has no end")
        return " ".join(words)


def read(folder):
    """Return all top-level blocks of the .tf files below a folder.  Raises ValueError for a file that is not HCL."""
    found = []
    for path in sorted(Path(folder).rglob("*.tf")):
        if {".terraform", "measuring", ".git"} & set(path.parts):
            continue
        top = Block("file", (), str(path))
        Reader(path.read_text(encoding="utf-8"), str(path)).body(top, nested=False)
        found += top.blocks
    return found
