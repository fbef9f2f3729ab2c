"""Check that the page still has its contents: `--write` records the contents of the first version in page.json.

The check compares the text that a reader sees, links, pictures, form controls, headings, names for scripts and styles,
and the properties that each rule of a style sheet sets.  The files that the page refers to must exist.
"""

import json
import re
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

NOTES = Path(__file__).with_name("page.json")
SILENT = {"script", "style", "template", "noscript"}
NOTED = ("href", "src", "srcset", "action", "name", "type", "value", "placeholder", "alt", "title", "lang", "role")
SHOWN = {"a", "img", "input", "button", "select", "option", "textarea", "form", "label", "iframe", "video", "audio"}
SHOWN |= {"h1", "h2", "h3", "h4", "h5", "h6", "nav", "main", "header", "footer", "table", "th", "td", "li"}
SHOWN |= {"link", "script"}


class Contents(HTMLParser):
    """What an HTML file shows."""

    def __init__(self):
        super().__init__()
        self.words, self.parts, self.names, self.styles, self.refers = [], Counter(), Counter(), [], []
        self.scripts, self.within = [], []

    def handle_starttag(self, tag, attributes):
        given = {name: " ".join((value or "").split()) for name, value in attributes}
        if tag in SILENT:
            self.within.append(tag)
        hidden = [name for name in ("hidden", "aria-hidden") if name in given]
        if tag in SHOWN or hidden:
            noted = sorted(f"{name}={given[name]}" for name in NOTED if given.get(name))
            self.parts[" ".join([tag, *noted, *hidden])] += 1
        for name in ("id", "class"):
            for each in given.get(name, "").split():
                self.names[f"{name} {each}"] += 1
        if given.get("style"):
            self.styles.append("[style] {" + given["style"] + "}")
        for name in ("src", "href"):
            if given.get(name) and not re.match(r"[a-z]+:|//|#|\?", given[name]):
                self.refers.append(re.split(r"[?#]", given[name])[0])

    def handle_endtag(self, tag):
        if self.within and self.within[-1] == tag:
            self.within.pop()

    def handle_data(self, data):
        if self.within[-1:] == ["style"]:
            self.styles.append(data)
        elif self.within[-1:] == ["script"]:
            self.scripts.append("".join(data.split()))
        elif not self.within:
            self.words += data.split()


def rules(css):
    """Return each (selector, property) of a style sheet, with any ``@media`` around it; shorthands stay as they are."""
    css = re.sub(r"/\*.*?\*/", "", css, flags=re.S)
    found, around, text, quote = Counter(), [], "", ""
    for character in css:
        if quote or character in "\"'":
            quote = "" if character == quote else quote or character
            text += character
        elif character == "{":
            around.append(re.sub(r"\s*([,>+~:()])\s*", r"\1", " ".join(text.split())))
            text = ""
        elif character in ";}":
            name = text.partition(":")[0].strip()
            if name and around:
                for selector in around[-1].split(","):
                    found[" / ".join([*around[:-1], selector, name])] = 1
            text = ""
            if character == "}" and around:
                around.pop()
        else:
            text += character
    return found


def contents(folder, pages, sheets):
    """Return the contents of the page as lines with counts."""
    found = {}
    for name in pages:
        parser = Contents()
        parser.feed((folder / name).read_text(encoding="utf-8", errors="replace"))
        parser.close()
        base = folder if name.count("/") == 0 else (folder / name).parent
        for each in parser.refers:
            path = folder / each.lstrip("/") if each.startswith("/") else base / each
            if each and not path.exists():
                found.setdefault("lacking", {})[f"{name} refers to {each}, which does not exist"] = 1
        style = Counter()
        for css in parser.styles:
            style += rules(css)
        found[name] = {"text": " ".join(parser.words), "parts": parser.parts, "names": parser.names, "style": style}
        found[name]["scripts"] = "".join(parser.scripts)
    for name in sheets:
        found[name] = {"style": rules((folder / name).read_text(encoding="utf-8", errors="replace"))}
    return found


def missing(before, now):
    """Return what the first version has and this one lacks, as text, or None if it lacks nothing."""
    styled = Counter()
    for each in now.values():
        styled += Counter(each.get("style", {}))
    if lacking := [said for said in now.get("lacking", {}) if said not in before.get("lacking", {})]:
        return lacking[0]
    for name, noted in before.items():
        there = now.get(name, {})
        if noted.get("text", "") != there.get("text", ""):
            return f"the text of {name} differs from the first version"
        if noted.get("scripts", "") != there.get("scripts", ""):
            return f"the scripts inside {name} differ from the first version"
        for kind in ("parts", "names"):
            lacking = Counter(noted.get(kind, {})) - Counter(there.get(kind, {}))
            if lacking:
                return f"{name} lacks {next(iter(lacking))}"
            if kind == "parts" and (more := Counter(there.get(kind, {})) - Counter(noted.get(kind, {}))):
                return f"{name} has {next(iter(more))}, which the first version does not have"
        lacking = [rule for rule in noted.get("style", {}) if rule not in styled]
        if lacking:
            return f"no style sheet has {lacking[0]}, which {name} had"
    return None


def without_unused(folder, found):
    """Return the contents without style rules for classes and ids that no page and no script has."""
    used = {each.split()[1] for noted in found.values() for each in noted.get("names", {})}
    scripts = [path.read_text(encoding="utf-8", errors="replace") for path in folder.rglob("*.js")]
    scripts += [noted.get("scripts", "") for noted in found.values()]
    used |= set(re.findall(r"[\w-]+", " ".join(scripts)))
    for noted in found.values():
        selectors = {rule: rule.rpartition(" / ")[0] for rule in noted.get("style", {})}
        named = {rule: re.findall(r"[.#]([A-Za-z_][\w-]*)", selector) for rule, selector in selectors.items()}
        noted["style"] = {rule: 1 for rule in named if used.issuperset(named[rule])}
    return found


if __name__ == "__main__":
    page = json.loads(NOTES.read_text())
    now = contents(Path(page["folder"]), page["pages"], page["sheets"])
    if "--write" in sys.argv:
        NOTES.write_text(json.dumps({**page, "first": without_unused(Path(page["folder"]), now)}, indent=1) + "\n")
    elif said := missing(page["first"], now):
        raise SystemExit(said)
