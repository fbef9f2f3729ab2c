"""Print how much of the sources the tests reach, and how many wrong programs they notice.

``coverage``: lines and branches that the tests reach, in percent of all (coverage.py).
``mutation``: wrong programs that the tests notice, in percent of those tried.  Each is a source with one small change
in a line that the tests reach.  Tests that only call the program raise the first figure and lower the second.
``pragmas``: comments that take lines out of the count.
"""

import tempfile
from pathlib import Path

from mutants import mutants_of
from runs import copied, load_plugins, passed, reached

SOURCES = ["prices.py"]  # patterns of the files that the tests should reach; not those that the loop may edit
MOST_MUTANTS = 60  # each of them costs a run of the tests until the first failure

files = sorted({path for pattern in SOURCES for path in Path().glob(pattern) if path.is_file()})
if not files:
    raise SystemExit(f"no file fits SOURCES = {SOURCES} in measure.py")
load_plugins()
with tempfile.TemporaryDirectory() as folder:
    report, seconds = reached(copied(Path(folder).resolve() / "tests"), files)
    print(f"METRIC coverage={report['totals']['percent_covered']:.4f}")
    texts = {path: path.read_text(encoding="utf-8") for path in files}
    print(f"METRIC pragmas={sum(text.count('pragma: no') for text in texts.values())}")
    found = [
        (path, mutant)
        for path, text in texts.items()
        for mutant in mutants_of(text, set(report["files"].get(str(path), {}).get("executed_lines", ())))
    ]
    step = max(1, len(found) / MOST_MUTANTS)
    tried = [found[int(at * step)] for at in range(min(len(found), MOST_MUTANTS))]
    tree, noticed = copied(Path(folder).resolve() / "mutants"), 0
    for path, mutant in tried:
        (tree / path).write_text(mutant.text, encoding="utf-8")
        if passed(tree, ["-x"], 10 * seconds + 5):
            print(f"not noticed: {path}, line {mutant.line}: {mutant.change}")
        else:
            noticed += 1
        (tree / path).write_text(texts[path], encoding="utf-8")
    print(f"METRIC mutants={len(tried)}")
    print(f"METRIC mutation={100 * noticed / len(tried) if tried else 0:.4f}")
