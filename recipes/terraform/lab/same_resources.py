"""Refuse an edit that changes what the configuration builds: a check of this lab.

Every resource, module, data source, variable and output of the first version, in ``original/``, must still be there, in
the same number, and the attributes that say what it is (KEPT) must have the same values.  New resources must be of a
type in ADDED.  No check may be skipped, and no value may come from a place that checkov does not see, such as a
variable or a module.

With COMPARE = "parsed" the files are compared as they are written.  With "plan", ``terraform plan`` says what each
version would build, from nothing; that needs the providers, and for most of them credentials.
"""

import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

COMPARE = "parsed"  # or "plan"
ORIGINAL = Path("original")
KEPT = {
    "allocated_storage", "bucket", "cidr_block", "count", "engine", "for_each", "from_port", "identifier", "input",
    "instance_class", "name", "protocol", "source", "to_port", "username",
}  # fmt: skip
ADDED = {
    "aws_iam_role", "aws_kms_key", "aws_s3_bucket_lifecycle_configuration", "aws_s3_bucket_logging",
    "aws_s3_bucket_public_access_block", "aws_s3_bucket_server_side_encryption_configuration",
    "aws_s3_bucket_versioning",
}  # fmt: skip
SKIP = re.compile(r"(checkov|bridgecrew|tfsec)\s*:\s*skip|tfsec:ignore", re.IGNORECASE)
UNKNOWN = re.compile(r"\b(?:var|data|module|terraform)\.\w+")
SWITCHES = {"count", "for_each", "dynamic"}
REFERENCE = re.compile(r"(?<![\w.\"-])([a-z][a-z0-9]*_\w+)\.([A-Za-z_][\w-]*)(?=[.\[])")


def parsed(folder):
    """Return each block of the files by its address, such as ``resource.aws_s3_bucket.reports``."""
    try:
        import hcl2
    except ModuleNotFoundError:
        raise SystemExit(
            "this Python has no hcl2, which comes with checkov: run the line `install` of lab.toml"
        ) from None
    found = {}
    for path in sorted(folder.glob("*.tf")):
        with path.open(encoding="utf-8") as file:
            try:
                blocks = hcl2.load(file)
            except Exception as error:
                raise SystemExit(f"{path} cannot be read: {' '.join(str(error).split())[:200]}") from None
        for kind, listed in blocks.items():
            for block in listed if isinstance(listed, list) else ():
                for address, body in addressed(kind, block):
                    if address in found:
                        raise SystemExit(f"{address} is there twice")
                    found[address] = body
    return found


def addressed(kind, block):
    """Yield the address and the body of each block of one kind."""
    depth = {"resource": 2, "data": 2, "module": 1, "variable": 1, "output": 1, "provider": 1}.get(kind, 0)
    named = [((), block)]
    for _ in range(depth):
        named = [((*at, key), inner) for at, body in named for key, inner in body.items() if not key.startswith("__")]
    if depth:
        for at, body in named:
            yield ".".join((kind, *at)), body


def planned(folder):
    """Return what Terraform would build from nothing, by address."""
    with tempfile.TemporaryDirectory() as temporary:
        tree = Path(temporary) / "plan"
        tree.mkdir()
        for path in folder.glob("*.tf*"):
            shutil.copy(path, tree)
        for line in (["init", "-backend=false"], ["plan", "-refresh=false", "-out=made"], ["show", "-json", "made"]):
            options = ["-input=false", "-no-color"] if line[0] != "show" else []
            done = subprocess.run(["terraform", line[0], *options, *line[1:]], cwd=tree, capture_output=True, text=True)
            if done.returncode:
                said = " ".join((done.stderr or done.stdout).split())[-400:]
                raise SystemExit(f"terraform {line[0]} failed for {folder}: {said}")
    changes = json.loads(done.stdout[done.stdout.index("{") :])["resource_changes"]
    return {f"{each['mode']}.{each['address']}": each["change"]["after"] for each in changes}


def kept(body):
    """Return the values of the attributes in KEPT, wherever in the body they are."""
    found = []
    if isinstance(body, dict):
        for name, inner in sorted(body.items()):
            found += [(name, json.dumps(inner, sort_keys=True))] if name in KEPT else kept(inner)
    elif isinstance(body, list):
        for inner in body:
            found += kept(inner)
    return sorted(found)


def refused(before, now):
    """Return a change of the second version that is more than a safer setting, or None if there is none."""
    for address, body in before.items():
        if address not in now:
            return f"{address} is gone"
        if (old := kept(body)) != (new := kept(now[address])):
            differ = [each for each in old if each not in new] + [each for each in new if each not in old] + old
            return f"{address}: {differ[0][0]} = {differ[0][1]} has changed"
        if unknown := sorted(set(UNKNOWN.findall(json.dumps(now[address]))) - set(UNKNOWN.findall(json.dumps(body)))):
            return f"{address} takes a value from {unknown[0]}, where checkov does not see it"
    for address in now.keys() - before.keys():
        kind, _, rest = address.partition(".")
        if kind not in ("resource", "managed") or rest.split(".")[0] not in ADDED:
            return f"{address} is new, and ADDED in same_resources.py does not name its type"
        if switched := sorted(SWITCHES & now[address].keys()):
            return f"{address} is new and has {switched[0]}, so it may never be built"
        if unknown := UNKNOWN.search(json.dumps(now[address])):
            return f"{address} takes a value from {unknown[0]}, where checkov does not see it"
    return missing(before, now)


def missing(before, now):
    """Return the reference to a resource that no file has, as a sentence, or None if there is no such reference."""
    for address, body in now.items():
        for kind, name in REFERENCE.findall(json.dumps(body)):
            wanted = f"resource.{kind}.{name}"
            if wanted not in now and wanted not in before and not kind.startswith(("path_", "each_")):
                return f"{address} refers to {kind}.{name}, which does not exist"
    return None


if __name__ == "__main__":
    for path in sorted(Path().glob("*.tf*")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if SKIP.search(line):
                raise SystemExit(f"{path}, line {number}: a skipped check is not a passed one")
    read = {"parsed": parsed, "plan": planned}[COMPARE]
    if (why := refused(read(ORIGINAL), read(Path()))) is not None:
        raise SystemExit(why)
