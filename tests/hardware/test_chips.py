"""The row of the table of chips that fits a machine."""

from __future__ import annotations

import pytest
from conftest import ROOT

from autoresearch_mlx.hardware.chips import architecture_words, find_chip, read_chips
from autoresearch_mlx.hardware.machine import Gpu, Machine

DATA = ROOT / "data"
CHIPS = read_chips()


def mac(chip: str | None, cores: int | None) -> Machine:
    return Machine("Darwin", "arm64", chip, 10, 16 * 2**30, "macOS 26.1", Gpu("metal", chip, cores), "3.12.1", "0.32.4")


def test_the_chips_with_their_estimates() -> None:
    chips = read_chips(DATA / "chips.tsv")
    assert chips == CHIPS
    assert len(chips) == 39 and len({(c.chip, c.gpu_cores) for c in chips}) == 39
    by_name = {(c.chip, c.gpu_cores): c for c in chips}
    assert by_name["M5 Max", 40].fp16_tflops == 55 and not by_name["M5 Max", 40].estimates
    assert by_name["M4 Pro", 20].estimates == {"fp32", "fp16"}
    assert by_name["M6", 12].fp16_tflops is None


def test_every_chip_of_the_table_finds_itself() -> None:
    for chip in CHIPS:
        found = find_chip(mac(f"Apple {chip.name}", chip.gpu_cores), CHIPS)
        assert found is not None and (found.chip, found.words) == (chip, None)


@pytest.mark.parametrize(
    ("chip", "cores", "nearest", "words"),
    [
        ("Apple M4 Pro", 18, ("M4 Pro", 16), "M4 Pro with 18 GPU cores is not in the table; nearest: 16 GPU cores"),
        ("Apple M4 Pro", None, ("M4 Pro", 16), "the number of GPU cores is unknown; used: M4 Pro with 16 GPU cores"),
        ("Apple M4 Ultra", 80, ("M3 Ultra", 80), "M4 Ultra with 80 GPU cores is not in the table"),
        ("Apple M7 Max", 44, ("M5 Max", 40), "M7 Max with 44 GPU cores is not in the table; nearest: M5 Max with 40"),
        ("Apple M9", None, ("M6", 12), "M9 is not in the table; nearest: M6 with 12 GPU cores"),
        ("Apple A19 Pro", 6, ("A18 Pro", 5), "A19 Pro with 6 GPU cores is not in the table; nearest: A18 Pro"),
    ],
)
def test_a_chip_that_the_table_lacks_gets_the_nearest_row_and_says_so(
    chip: str, cores: int | None, nearest: tuple[str, int], words: str
) -> None:
    found = find_chip(mac(chip, cores), CHIPS)
    assert found is not None and (found.chip.name, found.chip.gpu_cores) == nearest
    assert found.words is not None and found.words.startswith(words)


@pytest.mark.parametrize("chip", [None, "", "VirtualApple @ 2.50GHz processor", "Intel(R) Core(TM) i9-9980HK"])
def test_what_is_no_apple_chip_has_no_row(chip: str | None) -> None:
    assert find_chip(mac(chip, 8), CHIPS) is None


def test_the_architecture_names_generation_and_class() -> None:
    assert architecture_words("applegpu_g17s") == "applegpu_g17s (M5 generation, Max)"
    assert architecture_words("applegpu_g13g") == "applegpu_g13g (M1 generation, base or Pro)"
    assert architecture_words("applegpu_g17p") == "applegpu_g17p (phone)"
    assert architecture_words("sm_90") == "sm_90"
    assert architecture_words(None) is None
