"""Propose how to measure Terraform files: by the failed checks of checkov, or by rules of our own without checkov."""

from __future__ import annotations

from collections.abc import Iterator

from autoresearch_mlx.setup.about.plan import FOLDER, Check, Metric, Plan, notes, script
from autoresearch_mlx.setup.about.tests_of import PYTHON
from autoresearch_mlx.setup.about.tree import Tree

_FEW_RULES = (
    "The findings come from about thirty rules in measuring/terraform_findings.py. checkov has about a thousand "
    "rules; where checkov is installed (`pip install checkov` into .venv), --about measures with it."
)
_NOT_PLANNED = "Nothing is planned or applied: the files are compared with the first version, attribute by attribute."
_WORSE_CHECKOV = '\nresource "aws_s3_bucket" "one_more_of_check" {\n  bucket = "one-more-of-check"\n}\n'
_WORSE = '\nvariable "one_more_of_check" {}\n'


def terraform_plans(tree: Tree, editable: tuple[str, ...]) -> Iterator[Plan]:
    """Yield the plan with checkov, then the plan without checkov."""
    same = f"{PYTHON} {FOLDER}/terraform_same.py"
    common = {**script("terraform_same.py"), **script("terraform_blocks.py"), **notes("terraform.json", folder=".")}
    checks = (Check("same_resources", same),)
    for name, needs in (("terraform_checkov", ("checkov",)), ("terraform_findings", ())):
        path = editable[0]
        yield Plan(
            "terraform",
            (Metric("findings"),),
            editable,
            f"{PYTHON} {FOLDER}/{name}.py",
            checks,
            {**common, **script(f"{name}.py")},
            prepare=(f"{same} --write",),
            exact=True,
            best=0.0,
            worse={path: tree.text(path) + (_WORSE_CHECKOV if needs else _WORSE)},
            needs=needs,
            open=(_NOT_PLANNED,) if needs else (_FEW_RULES, _NOT_PLANNED),
        )
