"""Downloads resume, are verified, and happen once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from autoresearch_mlx.errors import CorpusError
from autoresearch_mlx.targets.corpus.download import fetch, receipt

DATA = random.Random(7).randbytes(600_000)


@pytest.fixture
def served(hub) -> Path:
    path = hub.root / "owner" / "data" / "big.bin"
    path.parent.mkdir(parents=True)
    path.write_bytes(DATA)
    return path


def test_a_file_arrives_whole_and_its_progress_is_told(hub, served, cache, say, said) -> None:
    path = fetch("owner/data", "big.bin", cache, say, hub.endpoint)
    assert path.read_bytes() == DATA
    assert said == ["downloading big.bin: 0.6 MB of 0.6 MB (100%)"]
    assert receipt(path)["size"] == len(DATA)
    assert sorted(each.name for each in cache.iterdir()) == ["big.bin", "big.bin.json", "big.bin.lock"]


def test_a_finished_download_is_not_asked_for_again(hub, served, cache, say) -> None:
    fetch("owner/data", "big.bin", cache, say, hub.endpoint)
    hub.asked.clear()
    assert fetch("owner/data", "big.bin", cache, say, hub.endpoint).read_bytes() == DATA
    assert hub.asked == []


def test_a_broken_connection_is_resumed_where_it_broke(hub, served, cache, say) -> None:
    hub.cut = [200_000]
    assert fetch("owner/data", "big.bin", cache, say, hub.endpoint).read_bytes() == DATA
    first, second = hub.ranges()
    assert first is None
    assert 0 < int(second.removeprefix("bytes=").rstrip("-")) <= 200_000


def test_a_download_whose_process_is_killed_is_resumed_by_the_next(hub, served, cache, say, said) -> None:
    hub.pause = 0.02
    code = (
        "import sys; from pathlib import Path; from autoresearch_mlx.targets.corpus.download import fetch; "
        "fetch('owner/data', 'big.bin', Path(sys.argv[1]), print, sys.argv[2])"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(cache), hub.endpoint])
    deadline = time.monotonic() + 20
    while not any(part.stat().st_size > 100_000 for part in cache.glob("*.part")):
        assert time.monotonic() < deadline and child.poll() is None
        time.sleep(0.02)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    arrived = next(cache.glob("*.part")).stat().st_size
    hub.pause = 0.0
    assert fetch("owner/data", "big.bin", cache, say, hub.endpoint).read_bytes() == DATA
    assert hub.ranges()[-1] == f"bytes={arrived}-"
    assert said[0].startswith("resuming big.bin at 0.")


def test_a_server_that_ignores_ranges_sends_the_file_anew(hub, served, cache, say) -> None:
    hub.cut, hub.deaf = [200_000], True
    assert fetch("owner/data", "big.bin", cache, say, hub.endpoint).read_bytes() == DATA


def test_two_at_once_share_one_download(hub, served, cache, say, said) -> None:
    hub.pause = 0.002
    with ThreadPoolExecutor(2) as pool:
        paths = list(pool.map(lambda _: fetch("owner/data", "big.bin", cache, say, hub.endpoint), range(2)))
    assert paths[0].read_bytes() == DATA
    assert hub.files() == ["big.bin"]
    assert "another process is downloading big.bin; waiting for it" in said


@pytest.mark.uncounted  # a limit on file sizes damages the file of coverage counts
def test_a_full_disk_is_named_and_what_arrived_is_kept(hub, served, cache) -> None:
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from autoresearch_mlx.targets.corpus.download import fetch\n"
        "from autoresearch_mlx.errors import CorpusError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try: fetch('owner/data', 'big.bin', Path(sys.argv[1]), print, sys.argv[2])\n"
        "except CorpusError as error: print('ERROR', error, '|', error.hint)\n"
    )
    command = [sys.executable, "-c", code, str(cache), hub.endpoint]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "ERROR cannot write" in output and "big.bin" in output and "free some space" in output
    assert not (cache / "big.bin").exists()
    assert fetch("owner/data", "big.bin", cache, print, hub.endpoint).read_bytes() == DATA
    assert hub.ranges()[-1] == "bytes=100000-"


def test_a_file_that_changed_on_the_hub_is_not_glued_to_the_old_part(hub, served, cache, say) -> None:
    cache.mkdir()
    (cache / "big.bin.0123456789abcdef.part").write_bytes(b"of an older version")
    assert fetch("owner/data", "big.bin", cache, say, hub.endpoint).read_bytes() == DATA
    assert not list(cache.glob("*.part"))


def test_content_that_differs_from_its_hash_is_refused_and_removed(hub, served, cache, say) -> None:
    hub.announce["big.bin"] = "0" * 64
    with pytest.raises(CorpusError, match=r"big\.bin arrived with SHA-256 .* not 000000000000"):
        fetch("owner/data", "big.bin", cache, say, hub.endpoint)
    assert [each.name for each in cache.iterdir()] == ["big.bin.lock"]


def test_a_local_file_that_lost_bytes_is_fetched_again(hub, served, cache, say) -> None:
    path = fetch("owner/data", "big.bin", cache, say, hub.endpoint)
    path.write_bytes(DATA[:1000])
    assert fetch("owner/data", "big.bin", cache, say, hub.endpoint).read_bytes() == DATA


def test_a_file_the_hub_does_not_have_is_named(hub, cache, say) -> None:
    with pytest.raises(CorpusError, match=r"cannot find none\.bin of owner/data on the hub"):
        fetch("owner/data", "none.bin", cache, say, hub.endpoint)


def test_without_a_network_the_hint_names_the_sources_that_need_none(cache, say) -> None:
    with pytest.raises(CorpusError) as caught:
        fetch("owner/data", "big.bin", cache, say, "http://127.0.0.1:9")  # nobody listens on the discard port
    assert "prepare stdlib" in caught.value.hint
    assert "prepare folder PATH" in caught.value.hint
