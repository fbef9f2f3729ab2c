"""Define ``prepare``, which turns text into tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from autoresearch_mlx.cli.options import json_option, lab_here, say


@click.command("prepare")
@click.argument(
    "source", metavar="[SOURCE]", default="stdlib", type=click.Choice(["stdlib", "climbmix", "tinystories", "folder"])
)
@click.argument("path", required=False, type=click.Path(path_type=Path))
@click.option("--shards", type=click.IntRange(min=1), help="climbmix: training shards to fetch; default 10.")
@click.option(
    "--vocab-size", type=click.IntRange(min=1), help="Vocabulary size of the tokenizer; default: as the machine allows."
)
@click.option(
    "--seq-len",
    type=click.IntRange(min=1),
    help="Number of tokens in each row of the corpus; default: as the machine allows.",
)
@json_option
def prepare_command(source: str, path: Path | None, as_json: bool, **sizes: Any) -> None:
    """Turn text into rows of tokens.  Later runs of this lab train on the text that was prepared last.

    \b
    SOURCE  stdlib       the source of Python's standard library; no network
            climbmix     the text of the H100 runs, from the Hugging Face hub
            tinystories  short stories, for very small models
            folder PATH  your own .txt, .md, .py, .jsonl, .parquet files

    \b
    Example:
      autoresearch-mlx prepare folder ~/texts --vocab-size 4096
    """
    import json
    from dataclasses import asdict

    from autoresearch_mlx.hardware.machine import read_machine
    from autoresearch_mlx.hardware.profile import choose_profile
    from autoresearch_mlx.lab.config import load_settings
    from autoresearch_mlx.report.closing import corpus_lines
    from autoresearch_mlx.targets.corpus.prepare import default_cache, prepare
    from autoresearch_mlx.targets.pretrain.data import corpus_request, remember_corpus

    lab = lab_here()
    options = {"data.source": source, "data.path": str(path.resolve()) if path else None}
    options |= {f"data.{name}": value for name, value in sizes.items()}
    settings = load_settings(lab.root, options).settings
    corpus = prepare(
        corpus_request(settings, choose_profile(read_machine(), settings.hardware.profile)), default_cache(), say
    )
    remember_corpus(lab, corpus)
    click.echo(json.dumps(asdict(corpus.manifest)) if as_json else corpus_lines(corpus))
