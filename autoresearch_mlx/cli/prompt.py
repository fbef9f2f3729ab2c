"""``prompt``: print the next prompt for the model."""

from __future__ import annotations

import json

import click

from autoresearch_mlx.cli.options import json_option, lab_here, say, tag_option


@click.command("prompt")
@click.option("--agent", metavar="NAME", help="Agent whose prompt is shown; default: the agent of lab.toml.")
@tag_option
@json_option
def prompt_command(agent: str | None, tag: str | None, as_json: bool) -> None:
    """Print the exact next prompt, with its size in tokens; nothing is sent and nothing is changed.

    \b
    Example:
      autoresearch-mlx prompt --agent ollama:qwen3-coder:30b
    """
    from autoresearch_mlx.lab.config import load_settings
    from autoresearch_mlx.loop.hire import next_brief
    from autoresearch_mlx.loop.session import look_at_session

    lab = lab_here()
    resolved = load_settings(lab.root, {"agent.name": agent})
    brief = next_brief(look_at_session(lab, resolved, tag), resolved.settings, say)
    if as_json:
        whole = {"system": brief.system, "user": brief.user, "tokens": brief.tokens, "cut": list(brief.cut)}
        click.echo(json.dumps(whole))
        return
    say(f"about {brief.tokens:,} tokens by our estimate" + "".join(f"; cut: {part}" for part in brief.cut))
    system = f"[system]\n{brief.system}\n\n" if brief.system else ""
    click.echo(f"{system}[user]\n{brief.user}")
