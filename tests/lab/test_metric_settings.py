"""The blocks [[metric]] and [[check]], and the section [tools], are read; an error names what is wrong in one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from autoresearch_mlx.errors import ConfigError
from autoresearch_mlx.lab.config import FILE, load_settings


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[metric]]\nunit = 's'", "block 1 of .*metric.* needs name = "),
        ("[[metric]]\nname = 'a'\nlimt = 3", "block 1 of .*metric.*unknown setting limt; did you mean limit"),
        ("[[metric]]\nname = 'a'\nlimit = '5'", "neither a number nor a change such as '\\+5 %'"),
        ("[[metric]]\nname = 'a'\nlimit = '-5 %'", "a: limit '-5 %' asks for a better value .*lower is better"),
        (
            "[[metric]]\nname = 'a'\nprimary = true\nlimit = 3",
            "a is the primary metric, which the loop improves, so it has no limit",
        ),
        ("[[metric]]\nname = 'a'\n[[metric]]\nname = 'a'", "two blocks .*metric.* have the name 'a'"),
        ("[[metric]]\nname = 'a'\nprimary = true\n[[metric]]\nname = 'b'\nprimary = true", "a and b both say primary"),
        ("[target]\nmetric = 'a'\n[[metric]]\nname = 'b'\nprimary = true", "target.metric is 'a', and the primary"),
        ("[metric]\nname = 'a'", "metric should be blocks of their own, each below a line"),
        ("[[check]]\nname = 'a'", "block 1 of .*check.* needs run = "),
        ("[[check]]\nname = 'a'\nrun = 'true'\ntimeout_seconds = 0", "greater than 0"),
        ("[tools]\nfolder = '../x'", "'../x' is not a folder inside the lab"),
        ("[tools]\nneeds = ['a |']", "must name a program or a file"),
    ],
)
def test_a_wrong_block_is_named_with_its_file_and_what_was_given(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_settings(tmp_path)
    assert FILE in str(caught.value) and re.search(said, str(caught.value)), str(caught.value)
    assert str(tmp_path / FILE) in caught.value.hint


@pytest.mark.parametrize(("limit", "worse_by"), [('"+5 %"', 0.05), ('"5%"', 0.05), ('"0 %"', 0.0), ("12", None)])
def test_a_limit_is_a_number_or_a_share_of_the_first_version(
    tmp_path: Path, limit: str, worse_by: float | None
) -> None:
    (tmp_path / FILE).write_text(f"[[metric]]\nname = 'memory'\nlimit = {limit}\n")
    (metric,) = load_settings(tmp_path).settings.metric
    assert metric.worse_by == worse_by


def test_the_primary_block_names_the_metric_and_its_direction(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("[[metric]]\nname = 'score'\nprimary = true\ndirection = 'max'\n")
    target = load_settings(tmp_path).settings.target
    assert (target.metric, target.direction) == ("score", "max")
