"""Find a kind of target by its name: the name of a built-in kind, a name from an installed package, or
``module:Class``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from autoresearch_mlx.errors import ConfigError
from autoresearch_mlx.lab.config import Settings, TargetSettings
from autoresearch_mlx.lab.plugins import import_named, offered, said
from autoresearch_mlx.targets.contract import TargetKind
from autoresearch_mlx.targets.guarded import GuardedKind

GROUP = "autoresearch_mlx.targets"
"""Entry-point group in which a package offers kinds of target."""
BUILT_IN = {
    "pretrain": "autoresearch_mlx.targets.pretrain.kind:PretrainKind",
    "command": "autoresearch_mlx.targets.command.kind:CommandKind",
    "evals": "autoresearch_mlx.targets.evals.kind:EvalsKind",
    "kernel": "autoresearch_mlx.targets.kernel.kind:KernelKind",
}
"""Name of a built-in kind -> its class as ``module:Class``; a module is imported only if it is needed."""


def kind_of(settings: Settings, root: Path) -> TargetKind[Any]:
    """Return the kind of target that the settings name, after this kind has checked the settings.

    ``root`` is the lab's folder, which may contain the module that defines the target's class.  Raises ConfigError.
    """
    found = find_kind(settings.target.kind, root)
    found.check(settings)
    return found


def find_kind(name: str, root: Path) -> TargetKind[Any]:
    """Return the kind of target with this name.  Raises ConfigError if the kind cannot be found or loaded."""
    # Reading what the installed packages offer takes tens of milliseconds, and built-in kinds need not wait for it.
    packages = {} if name in BUILT_IN else offered(GROUP)
    where = BUILT_IN.get(name) or packages.get(name) or (name if _is_path(name) else None)
    if where is None:
        known = ", ".join([*BUILT_IN, *sorted(packages)])
        hint = f"target.kind in lab.toml must be one of {known}, or module:Class for a class of your own"
        raise ConfigError(f"there is no target {name!r}", hint)
    # A user's own module may raise any error while it is imported or called.
    try:
        found = import_named(where, root)()
    except (Exception, SystemExit) as error:
        hint = f"{where} must be importable, and its class callable without arguments; CONTRIBUTING.md has an example"
        raise ConfigError(f"cannot load the target {name!r}: {said(error)}", hint) from error
    if not isinstance(found, TargetKind):
        hint = "subclass autoresearch_mlx.targets.contract.TargetKind; CONTRIBUTING.md has an example"
        raise ConfigError(f"the target {name!r} ({where}) is not a TargetKind", hint)
    if name in BUILT_IN:
        return found
    own = GuardedKind(found, name)
    with_defaults(Settings(), own)
    return own


def with_defaults(settings: Settings, kind: TargetKind[Any]) -> Settings:
    """Return the settings.  If metric, direction or editable files are left out, the kind's defaults are filled in.

    Raises ConfigError if one of the kind's values cannot be used.
    """
    given = settings.target.model_fields_set
    own = {name: getattr(kind, name) for name in ("metric", "direction", "editable") if name not in given}
    try:
        right = TargetSettings.model_validate(own)
    except ValidationError as error:
        first = error.errors()[0]
        where, words = ".".join(map(str, first["loc"][:1])), first["msg"].removeprefix("Value error, ")
        said = f"the target {kind.name}: its class has a wrong {where or 'default'}: {words}"
        raise ConfigError(said, "correct the class; its defaults are checked like the settings in lab.toml") from None
    own = {name: getattr(right, name) for name in own}
    return settings.model_copy(update={"target": settings.target.model_copy(update=own)})


def _is_path(name: str) -> bool:
    module, colon, attribute = name.partition(":")
    return bool(module and colon and attribute)
