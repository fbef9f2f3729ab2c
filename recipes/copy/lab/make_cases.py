"""Write cases.jsonl: one comparison for each version in rivals/ and each line of criteria.txt.

Run this script after a change of the rivals or the criteria: `python3 make_cases.py`.  Each case is a rubric with a
reference, for the target evals: a vote counts only if the judge says the same in both orders of the two texts.
"""

import json
from pathlib import Path

criteria = [line.strip() for line in Path("criteria.txt").read_text(encoding="utf-8").splitlines() if line.strip()]
rows = []
for rival in sorted(Path("rivals").glob("*.md")):
    for number, criterion in enumerate(criteria, start=1):
        check = {"rubric": criterion, "reference": rival.read_text(encoding="utf-8").strip()}
        name = {"id": f"{rival.stem}-{number}", "tags": [f"criterion {number}"]}
        rows.append(json.dumps({**name, "input": "Write a mail.", "check": check}, ensure_ascii=False))
Path("cases.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
print(f"cases.jsonl: {len(rows)} comparisons")
