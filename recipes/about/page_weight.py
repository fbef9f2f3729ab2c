"""Print the weight of the page: the gzip bytes of all its files, as a server sends them."""

import gzip
import json
from pathlib import Path

PACKED = {".png", ".jpg", ".jpeg", ".gif", ".webp", ".avif", ".woff", ".woff2", ".mp4", ".webm", ".mp3", ".zip"}


def weight(path):
    """Return the bytes of one file as a server sends it: compressed, unless its format is compressed already."""
    data = path.read_bytes()
    return len(data) if path.suffix.lower() in PACKED else len(gzip.compress(data, 9, mtime=0))


if __name__ == "__main__":
    page = json.loads(Path(__file__).with_name("page.json").read_text())
    folder = Path(page["folder"])
    kinds = set(page["kinds"])
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix.lower() in kinds]
    files = [path for path in files if "measuring" not in path.parts and ".git" not in path.parts]
    print(f"METRIC gzip_bytes={sum(map(weight, files))}")
    print(f"METRIC files={len(files)}")
