"""Print the size of the editable files in tokens: names, numbers and signs; lines and comments do not count.

A long string counts as one token for every four characters, so that code cannot be made short by hiding it in a string.
"""

import json
import re
from pathlib import Path

COMMENTS = re.compile(r"""("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`(?:\\.|[^`\\])*`)|/\*.*?\*/|//[^\n]*""", re.DOTALL)
TOKEN = re.compile(
    r""""(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`(?:\\.|[^`\\])*`|\w+|=>|&&|\|\||<<|>>|[-+*/%=!<>&|^]=|\+\+|--|->|::|\S""",
    re.DOTALL,
)


def tokens(text):
    """Return how many tokens a text has."""
    plain = COMMENTS.sub(lambda found: found[1] or " ", text)
    return sum(max(1, len(each) // 4) if each[0] in "\"'`" else 1 for each in TOKEN.findall(plain))


if __name__ == "__main__":
    paths = [Path(path) for path in json.loads(Path(__file__).with_name("tokens.json").read_text())["editable"]]
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in paths if path.exists()]
    print(f"METRIC tokens={sum(map(tokens, texts))}")
    print(f"METRIC lines={sum(sum(1 for line in text.splitlines() if line.strip()) for text in texts)}")
