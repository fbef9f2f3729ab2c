"""Define ``factory``, which makes verified agents from posts about problems."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from autoresearch_mlx.cli.options import NumberRange, json_option, say, width

_STAGES = ("collect", "evidence", "problem", "spec", "cases", "build", "verify", "improve", "ship")


class _Factory(click.Group):
    """A group that reads ``factory DIR`` as ``factory run DIR``."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = ["run", *args]
        return super().parse_args(context, args)


@click.group("factory", cls=_Factory, context_settings={"help_option_names": ["-h", "--help"]})
def factory_command() -> None:
    """Find problems in posts, and make agents that solve these problems.

    Every agent is verified by cases that its builder did not write.

    \b
    autoresearch-mlx factory DIR              go through all stages, or continue where the last call ended
    autoresearch-mlx factory status DIR       show the state of each problem
    autoresearch-mlx factory ask AGENT TEXT   put a question to an agent that was shipped
    """


@factory_command.command("run", short_help="Go through the stages; the same as `factory DIR`.")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--posts",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="PATH",
    help="A file or folder with posts; may be repeated; default: DIR/posts.",
)
@click.option("--fetch", multiple=True, metavar="URL", help="Fetch a feed or JSON from the network; may be repeated.")
@click.option(
    "--agent",
    metavar="MODEL",
    help="The model that reads posts and builds agents: ollama:MODEL, openai:MODEL ...; default: as for `run`.",
)
@click.option("--cases-agent", "examiner", metavar="MODEL", help="The model that writes the cases; default: --agent.")
@click.option("--agents-model", metavar="NAME", help="The model that the built agents ask; default: --agent.")
@click.option("--agents-endpoint", metavar="URL", help="The server of --agents-model, with OpenAI's API.")
@click.option(
    "--pieces",
    type=click.IntRange(min=1),
    metavar="K",
    help="Number of independent pieces of evidence that a problem needs; default 3.",
)
@click.option(
    "--cases", type=click.IntRange(min=10, max=200), metavar="N", help="Number of cases for each agent; default 30."
)
@click.option(
    "--experiments", type=click.IntRange(min=0), metavar="N", help="Number of experiments for each agent; default 5."
)
@click.option(
    "--problems", type=click.IntRange(min=1), metavar="N", help="Largest number of problems to work on; default 10."
)
@click.option(
    "--read", type=click.IntRange(min=1), metavar="N", help="Largest number of posts that the model reads; default 500."
)
@click.option(
    "--builds",
    type=click.IntRange(min=1),
    metavar="N",
    help="Largest number of builds of an agent before it is discarded; default 2.",
)
@click.option(
    "--bar",
    type=NumberRange(0, 1),
    metavar="X",
    help="Lowest score on hidden cases with which an agent is shipped; default 0.5.",
)
@click.option("--until", type=click.Choice(_STAGES), default="ship", help="Stop after this stage.")
def run_command(folder: Path, posts: tuple[Path, ...], fetch: tuple[str, ...], until: Any, **given: Any) -> None:
    """Go through the stages, from posts to verified agents.

    The first stages collect posts, count evidence and find problems. For each problem, the next stages write a
    specification and cases, then build, verify and improve an agent. The last stage ships or discards the agent.

    Each stage is an event in DIR/factory.jsonl. If a call was interrupted or killed, the next call continues the work.
    DIR/factory.html shows the state. The network is used only for --fetch and to reach the models.

    \b
    Example:
      autoresearch-mlx factory mine --posts ~/exports --agent ollama:qwen3-coder:30b
      autoresearch-mlx factory mine --until spec
    """
    from autoresearch_mlx.cli.opened import interruptible
    from autoresearch_mlx.setup.factory.ledger import Book
    from autoresearch_mlx.setup.factory.line import Wanted, run_line
    from autoresearch_mlx.setup.factory.page import status_lines

    models = {name: given.pop(name) for name in ("agent", "examiner", "agents_model", "agents_endpoint")}
    options = {name: value for name, value in given.items() if value is not None}
    with interruptible():
        try:
            state = run_line(folder, Wanted(posts, fetch, options, until=until, **models), say)
        except KeyboardInterrupt:
            say("stopped by hand; the same command continues the work")
            raise
    for line in status_lines(Book(folder.resolve()), state, width()):
        click.echo(line)


@factory_command.command("status", short_help="Show the state of each problem.")
@click.argument("folder", metavar="[DIR]", type=click.Path(path_type=Path), default=Path())
@json_option
def status_command(folder: Path, as_json: bool) -> None:
    """Show which stages of a factory are done, and the state of each problem.

    \b
    Example:
      autoresearch-mlx factory status mine
    """
    from autoresearch_mlx.setup.factory.ledger import open_book
    from autoresearch_mlx.setup.factory.page import status_json, status_lines

    book = open_book(folder.resolve())
    state = book.read()
    if as_json:
        click.echo(json.dumps(status_json(book, state)))
        return
    for line in status_lines(book, state, width()):
        click.echo(line)


@factory_command.command("ask", short_help="Put one question to a shipped agent.")
@click.argument("agent", metavar="AGENT", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("question", metavar="TEXT")
@json_option
def ask_command(agent: Path, question: str, as_json: bool) -> None:
    """Put one question to a shipped agent, and print the answer.

    The agent runs in a sandbox, with the same budget as for one test case.

    \b
    Example:
      autoresearch-mlx factory ask mine/shipped/p1-scale-servings "A recipe takes 250 g for 4 servings ..."
    """
    from dataclasses import asdict

    from autoresearch_mlx import terms
    from autoresearch_mlx.cli.opened import interruptible
    from autoresearch_mlx.setup.factory.ask import ask

    with interruptible():
        found = ask(agent.resolve(), question, say)
    if as_json:
        click.echo(json.dumps(asdict(found)))
    elif found.error:
        say(f"no answer: {terms.one_line(found.error)}")
    else:
        answer = found.answer if isinstance(found.answer, str) else json.dumps(found.answer, ensure_ascii=False)
        click.echo(terms.printable(answer))
    raise SystemExit(1 if found.error else 0)
