"""Send one message with the prompt to the model, and return its reply.  Only the prompt is editable."""

from pathlib import Path


def run(question, tools):
    """Return what the model answers to the message of a customer."""
    prompt = Path("prompts/system.md").read_text(encoding="utf-8")
    return tools.model([{"role": "system", "content": prompt}, {"role": "user", "content": question}]).strip()
