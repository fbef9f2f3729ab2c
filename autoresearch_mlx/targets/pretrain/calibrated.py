"""Choose a session's budget and batch from this machine's calibration."""

from __future__ import annotations

from autoresearch_mlx.errors import CorpusError
from autoresearch_mlx.hardware.calibration import Basis, Calibration, basis_of, load
from autoresearch_mlx.hardware.fit import choose, fitted
from autoresearch_mlx.hardware.machine import Machine
from autoresearch_mlx.hardware.profile import Profile
from autoresearch_mlx.lab.config import Settings
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.targets.contract import Say
from autoresearch_mlx.targets.corpus import prepare as corpora
from autoresearch_mlx.targets.pretrain.data import last_corpus


def basis_here(settings: Settings, lab: Lab | None, machine: Machine, profile: Profile) -> Basis:
    """Return the facts on which a calibration for this lab depends: machine, profile, and the shape of the rows."""
    return basis_of(machine, profile, *_shape(settings, lab, profile))


def calibration_here(
    settings: Settings, lab: Lab | None, machine: Machine, profile: Profile
) -> tuple[Calibration | None, str | None]:
    """Return the calibration for this lab, or None and the reason.  The reason is None too if there never was a
    calibration."""
    if settings.hardware.calibrate == "never":
        return None, "not used: hardware.calibrate = never"
    return load(basis_here(settings, lab, machine, profile), corpora.default_cache())


def chosen_by_hand(settings: Settings) -> bool:
    """Return whether the settings name a budget or a profile.  If so, no calibration changes the budget or the
    batch."""
    return settings.budget.seconds != "auto" or settings.hardware.profile != "auto"


def fit_to_machine(settings: Settings, lab: Lab, machine: Machine, profile: Profile, say: Say) -> Profile:
    """Return the profile with the calibration's budget and batch, or the same profile if there is no calibration."""
    if chosen_by_hand(settings):
        return profile
    calibration, why = calibration_here(settings, lab, machine, profile)
    if calibration is None:
        if why is not None and settings.hardware.calibrate != "never":
            say(f"{why}; `autoresearch-mlx doctor --calibrate` measures again")
        return profile
    choice = choose(profile, calibration)
    say(f"calibrated {calibration.day}: {choice.words}")
    return fitted(profile, choice)


def _shape(settings: Settings, lab: Lab | None, profile: Profile) -> tuple[int, int]:
    """Return the vocabulary size, and the number of tokens in a row, with which a session of this lab would train."""
    data = settings.data
    try:
        last = last_corpus(lab) if lab is not None and data.source == "auto" else None
    except CorpusError:
        last = None
    if last is not None:
        return last.manifest.vocab_size, last.manifest.seq_len
    vocab_size = profile.vocab_size if data.vocab_size == "auto" else data.vocab_size
    return vocab_size, profile.seq_len if data.seq_len == "auto" else data.seq_len
