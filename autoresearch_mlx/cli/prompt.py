"""Define ``prompt``, which prints the next prompt for the model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from autoresearch_mlx.cli.options import json_option, lab_here, say, tag_option
from autoresearch_mlx.store.forms import LADDER

if TYPE_CHECKING:
    from autoresearch_mlx.agents.chat.opening import FormSize
    from autoresearch_mlx.loop.hire import NextPrompt
    from autoresearch_mlx.store.forms import Form


@click.command("prompt")
@click.option("--agent", metavar="NAME", help="Agent whose prompt is shown; default: the agent of lab.toml.")
@click.option(
    "--form",
    type=click.Choice(LADDER),
    help="Form of the reply that the prompt asks for; default: the form that the next prompt will have.",
)
@tag_option
@json_option
def prompt_command(agent: str | None, form: Form | None, tag: str | None, as_json: bool) -> None:
    """Print the exact next prompt, and the size of each form in tokens; nothing is sent and nothing is changed.

    The form says what the model replies.  A small model chooses from a menu or among values of knobs.  A capable model
    sends blocks of code or a whole file.  In a lab without a session, the command prints the prompt of the first
    experiment, in which the values of the baseline are still missing.

    \b
    Example:
      autoresearch-mlx prompt --agent ollama:qwen3-coder:30b
      autoresearch-mlx prompt --form menu
    """
    shown = _prompt(agent, form, tag)
    brief = shown.brief
    if as_json:
        whole = {"system": brief.system, "user": brief.user, "tokens": brief.tokens, "cut": list(brief.cut)}
        forms = [
            {"form": f.form, "tokens": f.tokens, "reply_tokens": f.reply_tokens, "problem": f.problem, "next": f.next}
            for f in shown.forms
        ]
        click.echo(json.dumps({**whole, "forms": forms}))
        return
    say(f"about {brief.tokens:,} tokens by our estimate" + "".join(f"; cut: {part}" for part in brief.cut))
    for size in shown.forms:
        say(_words(size))
    system = f"[system]\n{brief.system}\n\n" if brief.system else ""
    click.echo(f"{system}[user]\n{brief.user}")


def _prompt(agent: str | None, form: Form | None, tag: str | None) -> NextPrompt:
    from autoresearch_mlx.lab.config import load_settings
    from autoresearch_mlx.loop.hire import first_prompt, next_prompt
    from autoresearch_mlx.loop.session import look_at_session

    lab = lab_here()
    resolved = load_settings(lab.root, {"agent.name": agent})
    if tag is None and lab.current() is None:
        return first_prompt(lab, resolved.settings, say, form)
    return next_prompt(look_at_session(lab, resolved, tag), resolved.settings, say, form)


def _words(size: FormSize) -> str:
    """Return a line with a form's size, as in ``menu: 520 + at most 400 tokens (next)``, or why it cannot be used."""
    if size.tokens is None or size.reply_tokens is None:
        return f"{size.form}: not possible: {size.problem}"
    return f"{size.form}: {size.tokens:,} + at most {size.reply_tokens:,} tokens{' (next)' if size.next else ''}"
