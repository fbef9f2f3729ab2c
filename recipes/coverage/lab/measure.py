"""Print how much of the sources the tests reach, and how many wrong programs they notice.

``coverage``: lines and branches that the tests reach, in percent of all (coverage.py).  ``mutation``: wrong programs
that the tests notice, in percent of those tried.  A wrong program is a source with one small change in a line that the
tests reach.  Tests that only call the program raise the first figure and lower the second.  ``pragmas``: comments that
take lines out of the count.

Tests that read the text of the sources, or find out that they are tried on wrong programs, would notice every wrong
program. So now and then the tests run with a program that does the same and is written differently, and they must pass.
"""

import random
import tempfile
from pathlib import Path

from mutants import alike, mutants_of
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
    tree, noticed = copied(Path(folder).resolve() / "tried"), 0

    def pass_with_the_right_program():
        for path, text in texts.items():
            (tree / path).write_text(alike(text, random.randrange(10**6, 10**9)), encoding="utf-8")
        if not passed(tree, ["-x"], 10 * seconds + 5):
            raise SystemExit("the tests fail for a program that does the same and is written differently")
        for path, text in texts.items():
            (tree / path).write_text(text, encoding="utf-8")

    right = {0, random.randrange(len(tried) + 1)}  # when the right program gets its turn among the wrong ones
    for at, (path, mutant) in enumerate(tried):
        if at in right:
            pass_with_the_right_program()
        (tree / path).write_text(mutant.text, encoding="utf-8")
        if passed(tree, ["-x"], 10 * seconds + 5):
            print(f"not noticed: {path}, line {mutant.line}: {mutant.change}")
        else:
            noticed += 1
        (tree / path).write_text(texts[path], encoding="utf-8")
    pass_with_the_right_program()
    print(f"METRIC mutants={len(tried)}")
    print(f"METRIC mutation={100 * noticed / len(tried) if tried else 0:.4f}")
