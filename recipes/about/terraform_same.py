"""Check that the Terraform files still describe the same things: `--write` records what the first version describes.

Nothing may be taken away: no resource, variable, output or other block, and none of their attributes.  Values that
define a size, a place or a kind must stay as they are.  Attributes and resources may be added, but none that switches a
resource off.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from terraform_blocks import SECRET, read

NOTES = Path(__file__).with_name("terraform.json")
SWITCHES = {"count", "for_each"}
STAYS = {"region", "location", "zone", "ami", "instance_type", "engine", "engine_version", "bucket", "default", "name"}
STAYS |= {"identifier", "source", "cidr_block", "machine_type", "instance_class", "allocated_storage"} | SWITCHES


def described(block):
    """Return the attributes of a block and of the blocks in it, and the values that must stay."""
    found = {name: value if name in STAYS else "" for name, value in block.attributes.items()}
    for number, inner in enumerate(block.blocks):
        found |= {f"{inner.name}[{number}].{name}": value for name, value in described(inner).items()}
    return found


def contents(folder):
    """Return the attributes of each block in the files, by the block's name; blocks with equal names are merged."""
    found = {}
    for block in read(folder):
        found.setdefault(block.name, {}).update(described(block))
    return found


def missing(before, now):
    """Return, as text, what the first version has and this one lacks or changes, or None if it keeps everything."""
    for name, attributes in before.items():
        if name not in now:
            return f"{name} is gone"
        for attribute, value in attributes.items():
            there, last = now[name].get(attribute), attribute.rpartition(".")[2]
            if there is None and not any(each.rpartition(".")[2] == last for each in now[name]):
                return f"{name} lacks {attribute}"
            if value and there is not None and there != value and not SECRET.search(name):
                return f"{name}: {attribute} is {there} instead of {value}"
        if switched := [each for each in now[name] if each in SWITCHES and each not in attributes]:
            return f"{name} has {switched[0]}, which the first version does not have"
    return None


if __name__ == "__main__":
    notes = json.loads(NOTES.read_text())
    folder = notes["folder"]
    if shutil.which("terraform"):  # the real parser; it needs neither providers nor a network
        command = ["terraform", "fmt", "-write=false", "-list=false", "-recursive", folder]
        done = subprocess.run(command, capture_output=True)
        if done.returncode:
            raise SystemExit(f"terraform cannot read the files: {done.stderr.decode()[-300:]}")
    now = contents(folder)
    if "--write" in sys.argv:
        NOTES.write_text(json.dumps({**notes, "first": now}, indent=1) + "\n")
    elif said := missing(notes["first"], now):
        raise SystemExit(said)
