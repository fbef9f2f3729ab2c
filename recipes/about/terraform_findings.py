"""Count what should not be in Terraform files, by the rules below: `--list` shows each finding.

These are about thirty common faults; a scanner such as checkov knows about a thousand.
"""

import json
import re
import sys
from pathlib import Path

from terraform_blocks import SECRET, read

ENCRYPTED = {
    "aws_db_instance": "storage_encrypted",
    "aws_rds_cluster": "storage_encrypted",
    "aws_ebs_volume": "encrypted",
    "aws_efs_file_system": "encrypted",
    "aws_redshift_cluster": "encrypted",
    "aws_docdb_cluster": "storage_encrypted",
    "aws_neptune_cluster": "storage_encrypted",
    "aws_elasticache_replication_group": "at_rest_encryption_enabled",
}
KEYED = {"aws_sns_topic": "kms_master_key_id", "aws_cloudwatch_log_group": "kms_key_id"}
MUST = {
    "aws_db_instance": {"deletion_protection": "true", "backup_retention_period": r"[1-9]\d*"},
    "aws_kms_key": {"enable_key_rotation": "true"},
    "aws_lb": {"drop_invalid_header_fields": "true"},
    "google_storage_bucket": {"uniform_bucket_level_access": "true"},
    "google_sql_database_instance": {"deletion_protection": "true"},
    "azurerm_storage_account": {"min_tls_version": "TLS1_2", "https_traffic_only_enabled": "true"},
    "azurerm_key_vault": {"purge_protection_enabled": "true"},
}
MUST_NOT = {
    "acl": r"public-read.*",
    "publicly_accessible": "true",
    "associate_public_ip_address": "true",
    "public_network_access_enabled": "true",
    "allow_blob_public_access": "true",
    "skip_final_snapshot": "true",
    "file_permission": r"0?777",
    "directory_permission": r"0?777",
}
EVERYBODY = re.compile(r'"(0\.0\.0\.0/0|::/0|\*)"')
WEB = {"80", "443"}
IGNORED = re.compile(r"(?:checkov|tfsec|trivy):\s*(?:skip|ignore)", re.IGNORECASE)


def of_variable(block):
    for name in ("description", "type"):
        if not block.text(name):
            yield f"the variable has no {name}"
    if SECRET.search(block.labels[-1]):
        if block.text("sensitive") != "true":
            yield "a secret that is not marked as sensitive"
        if block.text("default"):
            yield "a secret with a default"


def of_output(block):
    if not block.text("description"):
        yield "the output has no description"
    if SECRET.search(block.labels[-1]) and block.text("sensitive") != "true":
        yield "a secret that is not marked as sensitive"


def open_to_everybody(block):
    for rule in [*block.inside("ingress"), *([block] if block.text("type") == "ingress" else [])]:
        addresses = " ".join(rule.attributes.get(name, "") for name in ("cidr_blocks", "ipv6_cidr_blocks"))
        if EVERYBODY.search(addresses) and rule.text("from_port") not in WEB:
            yield f"port {rule.text('from_port')} is open to everybody"
    for name in ("source_ranges", "source_address_prefix"):
        if EVERYBODY.search(block.attributes.get(name, "")) and "443" not in block.attributes.get("ports", "22"):
            yield f"{name} is everybody"


def settings(block):
    """Yield the findings about the attributes of a block and of the blocks in it."""
    for name, value in block.attributes.items():
        text = value.strip().strip('"')
        if name in MUST_NOT and re.fullmatch(MUST_NOT[name], text):
            yield f"{name} = {text}"
        if SECRET.search(name) and re.fullmatch(r'"[^"$]+"', value.strip()) and not re.search(r"_(id|arn|name)$", name):
            yield f"{name} is written into the file"
        if re.search(r'(?:"?Action"?\s*[=:]|^)\s*\[?\s*"\*"', value) and name in ("policy", "actions"):
            yield "a policy allows every action"
    for each in block.blocks:
        yield from settings(each)


def of_resource(block):
    kind = block.labels[0]
    yield from settings(block)
    yield from open_to_everybody(block)
    if kind in ENCRYPTED and block.text(ENCRYPTED[kind]) != "true":
        yield f"{ENCRYPTED[kind]} is not true"
    if kind in KEYED and not block.text(KEYED[kind]):
        yield f"no {KEYED[kind]}"
    for name, wanted in MUST.get(kind, {}).items():
        if not re.fullmatch(wanted, block.text(name) or ""):
            yield f"{name} is not {wanted if wanted.isidentifier() else 'set'}"
    if kind == "aws_instance":
        if not any(each.text("http_tokens") == "required" for each in block.inside("metadata_options")):
            yield "the metadata service takes requests without a token"
        if not any(each.text("encrypted") == "true" for each in block.inside("root_block_device")):
            yield "the root disk is not encrypted"


def of_buckets(blocks):
    """Yield the findings about buckets, whose settings are resources of their own."""
    resources = [block for block in blocks if block.kind == "resource"]
    for bucket in resources:
        if bucket.labels[0] != "aws_s3_bucket":
            continue
        for kind in ("versioning", "public_access_block", "server_side_encryption_configuration"):
            own = bucket.inside(kind)
            settings_of = [r.attributes.get("bucket", "") for r in resources if r.labels[0] == f"aws_s3_bucket_{kind}"]
            if not own and not any(f"aws_s3_bucket.{bucket.labels[1]}." in bucket_of for bucket_of in settings_of):
                yield bucket.name, f"the bucket has no {kind.replace('_', ' ')}"


def of_whole(blocks):
    """Yield the findings about the folder as a whole."""
    terraform = [block for block in blocks if block.kind == "terraform"]
    if not any(block.text("required_version") for block in terraform):
        yield "terraform", "no required_version"
    pinned = {}
    for block in terraform:
        for providers in block.inside("required_providers"):
            pinned |= providers.attributes
    used = {block.labels[0].split("_")[0] for block in blocks if block.kind in ("resource", "data")} - {"terraform"}
    for name in sorted(used):
        if "version" not in pinned.get(name, ""):
            yield f"provider.{name}", "no version in required_providers"


def findings(folder):
    """Return each finding as a pair: the block or file that has it, and what is wrong.

    Raises ValueError for a file that is not HCL.
    """
    blocks = read(folder)
    by_kind = {"variable": of_variable, "output": of_output, "resource": of_resource, "provider": settings}
    found = [(b.name, said) for b in blocks if b.kind in by_kind for said in by_kind[b.kind](b)]
    found += [(b.name, said) for b in blocks if b.kind in ("locals", "module") for said in settings(b)]
    found += [*of_buckets(blocks), *of_whole(blocks)]
    for path in sorted(Path(folder).rglob("*.tf")):
        skipped = IGNORED.findall(path.read_text(encoding="utf-8"))
        found += [(str(path), "a comment tells a scanner to skip a check")] * len(skipped)
    return found


if __name__ == "__main__":
    folder = json.loads(Path(__file__).with_name("terraform.json").read_text())["folder"]
    found = findings(folder)
    if "--list" in sys.argv:
        print("\n".join(f"{what}: {said}" for what, said in found))
    print(f"METRIC findings={len(found)}")
