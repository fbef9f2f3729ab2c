"""List the coding agents that are known by name, with shell lines that start them for work without a person.

Each line was tested with the version in ``ran``, against a scripted server (``bench/coding_agents.py``).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath


@dataclass(frozen=True, slots=True)
class Preset:
    """A coding agent that ``--agent NAME`` calls."""

    name: str
    """Name of the agent, which is also the name of its program on PATH."""
    install: str
    """The command that installs the agent."""
    ran: str
    """The version of the agent with which ``line`` was tested."""
    line: str
    """Shell line that reads the prompt from standard input; ``{more}`` stands for a user's own options."""
    drives: str
    """Shell line that puts the agent in charge of the session, where it may also run commands; ``{tool}`` stands for
    the path of autoresearch-mlx."""
    needs: str = ""
    """The option in ``line`` that lets the agent edit files; empty if no option is needed."""
    allows: str = ""
    """Pattern that matches every option with which the agent may edit files; a user's own line needs such an option."""

    def shell_line(self, options: str = "") -> str:
        """Return the shell line with a user's own options."""
        return self.line.replace("{more}", f" {options}" if options else "")

    def driving_line(self, tool: str, options: str = "") -> str:
        """Return the shell line that puts the agent in charge of the session.

        ``tool`` is the path of autoresearch-mlx.
        """
        return self.drives.replace("{tool}", tool).replace("{more}", f" {options}" if options else "")


_AIDER = "aider --yes-always --no-auto-commits --no-gitignore --no-check-update --edit-format diff"

PRESETS = (
    Preset(
        "claude",
        install="npm install -g @anthropic-ai/claude-code",
        ran="2.1.197",
        line="claude -p --permission-mode acceptEdits{more}",
        drives="BASH_DEFAULT_TIMEOUT_MS=3600000 BASH_MAX_TIMEOUT_MS=3600000"
        " claude -p --permission-mode acceptEdits{more}"
        ' --allowedTools "Bash({tool} *)" "Bash(autoresearch-mlx *)" "Bash(git restore *)"',
        needs="--permission-mode acceptEdits",
        allows=r"--permission-mode[ =](acceptEdits|bypassPermissions|auto)|--dangerously-skip|--allowed-?[tT]ools",
    ),
    Preset(
        "codex",
        install="npm install -g @openai/codex",
        ran="0.171.0",
        line="codex exec -s workspace-write{more} -",
        drives="codex exec -s workspace-write --add-dir .git{more} -",
        needs="-s workspace-write",
        allows=r"(-s|--sandbox)[ =]?(workspace-write|danger)|sandbox_mode|--full-auto|--yolo|--dangerously-bypass",
    ),
    Preset(
        "opencode",
        install="npm install -g opencode-ai",
        ran="1.18.33",
        line="opencode run{more}",
        drives="opencode run{more}",
    ),
    Preset(
        "pi",
        install="npm install -g @mariozechner/pi-coding-agent",
        ran="0.73.1",
        line="pi -p --no-session{more}",
        drives="pi -p --no-session{more}",
    ),
    Preset(
        "qwen",
        install="npm install -g @qwen-code/qwen-code",
        ran="0.15.10",
        line="qwen --approval-mode auto-edit{more}",
        drives="qwen --approval-mode yolo{more}",
        needs="--approval-mode auto-edit",
        allows=r"--approval-mode[ =](auto[-_]edit|yolo)|--yolo|(^|\s)-y\b",
    ),
    Preset(
        "gemini",
        install="npm install -g @google/gemini-cli",
        ran="0.61.0",
        line="gemini --approval-mode auto_edit --skip-trust{more}",
        drives="gemini --approval-mode yolo --skip-trust{more}",
        needs="--approval-mode auto_edit",
        allows=r"--approval-mode[ =](auto_edit|yolo)|--yolo|(^|\s)-y\b",
    ),
    Preset(
        "aider",
        install="pip install aider-chat",
        ran="0.86.2",
        line=f'{_AIDER}{{more}} --message-file /dev/stdin "$@"',
        drives=f'{_AIDER}{{more}} --auto-test --test-cmd "{{tool}} try --detach -m aider && {{tool}} wait; exit 1"'
        ' --message-file /dev/stdin "$@"',
        needs="--yes-always",
        allows=r"--yes(-always)?\b",
    ),
    Preset(
        "mini",
        install="pip install mini-swe-agent",
        ran="2.4.6",
        # On Linux an argument has at most 128 KiB, so the agent reads a longer prompt from its file.
        line='MSWEA_COST_TRACKING=ignore_errors mini -y --exit-immediately{more} -t "$(if test'
        ' $(wc -c < $AUTORESEARCH_PROMPT) -lt 100000; then cat; else echo "Read and do: $AUTORESEARCH_PROMPT"; fi)"',
        drives='MSWEA_COST_TRACKING=ignore_errors mini -y --exit-immediately{more} -t "$(cat)"',
        needs="-y",
        allows=r"--yolo|(^|\s)-y\b",
    ),
)

_BY_NAME = {preset.name: preset for preset in PRESETS}
_ASSIGNED = re.compile(r"\w+=")


def find_preset(name: str) -> Preset | None:
    """Return the preset of this name; None when there is none."""
    return _BY_NAME.get(name)


def preset_line(name: str) -> str | None:
    """Return the shell line of an agent such as ``claude`` or ``claude:--model opus``; None for an unknown name.

    The text after the colon is passed to the program as options, so it begins with a dash.
    """
    kind, colon, options = name.partition(":")
    preset = _BY_NAME.get(kind)
    if preset is None or (colon and not options.startswith("-")):
        return None
    return preset.shell_line(options)


def driving_line(name: str, tool: str) -> str | None:
    """Return the shell line that puts an agent in charge of the session; None for an unknown name.

    ``name`` has the form that :func:`preset_line` takes, or the form ``command:LINE``.
    """
    kind, _, options = name.partition(":")
    if kind == "command" and options:
        return options
    return None if preset_line(name) is None else _BY_NAME[kind].driving_line(tool, options)


def command_line(name: str) -> str | None:
    """Return the shell line of a coding agent; None for an agent of another kind.

    A prefix ``hybrid:`` is ignored.  For the name ``command``, the line is empty, because lab.toml has the line.
    """
    kind, _, rest = name.removeprefix("hybrid:").partition(":")
    return rest if kind == "command" else preset_line(name.removeprefix("hybrid:"))


def program_of(line: str) -> str:
    """Return the name of the program that a shell line starts, without its folder; empty if there is none.

    Variables that are set before the program, and ``env``, are skipped.
    """
    for word in _words(line):
        if not _ASSIGNED.match(word) and word != "env":
            return PurePath(word).name
    return ""


def lacks_permission(line: str) -> str:
    """Return a sentence if a coding agent cannot edit files because its shell line lacks an option.

    Returns an empty string if no option is known to be missing.
    """
    preset = _BY_NAME.get(program_of(line))
    if preset is None or not preset.allows or re.search(preset.allows, line):
        return ""
    return f"{preset.name} edits no file without {preset.needs}, unless its own settings allow it"


def _words(line: str) -> Iterator[str]:
    try:
        yield from shlex.split(line)
    except ValueError:
        yield from line.split()
