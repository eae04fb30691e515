"""Draws a result: `python plot.py RESULT.json PICTURE.png`, where matplotlib is."""

import json
import statistics
import sys
from pathlib import Path

import matplotlib as mpl  # type: ignore[import-not-found,unused-ignore]
from matplotlib import pyplot as plt  # type: ignore[import-not-found,unused-ignore]

# Title, measure, whether more is better.
_PANELS = (
    ("put 256 MiB, MB/s", "put_large", True),
    ("get 256 MiB, MB/s", "get_large", True),
    ("put 32 MiB at 10 ms, MB/s", "put_far", True),
    ("64-way 1 KiB get, ops/s", "get_many_1k", True),
    ("64-way 1 KiB put, ops/s", "put_many_1k", True),
    ("64-way 100 KiB get, ops/s", "get_many_100k", True),
    ("1 KiB get p50, ms", "get_small", False),
    ("1 KiB put p50, ms", "put_small", False),
    ("list 10,000, ms", "list", False),
)
_OURS = "faststream-objstore"


def main(source: Path, target: Path) -> None:
    """Draw the medians of each peer, with a line from the least to the most of its rounds."""
    mpl.use("Agg")
    result = json.loads(source.read_text("utf-8"))
    samples = result["samples"]
    figure, axes = plt.subplots(3, 3, figsize=(13, 9), layout="constrained")
    for axis, (title, measure, more) in zip(axes.flat, _PANELS, strict=True):
        of = {peer: each for peer, each in samples.get(measure, {}).items() if each}
        peers = list(of)[::-1]
        middle = [statistics.median(of[peer]) for peer in peers]
        spread = (
            [mid - min(of[peer]) for mid, peer in zip(middle, peers, strict=True)],
            [max(of[peer]) - mid for mid, peer in zip(middle, peers, strict=True)],
        )
        colors = ["#27aae1" if peer == _OURS else "#b9c2c9" for peer in peers]
        axis.barh(peers, middle, xerr=spread, color=colors, ecolor="#555555", capsize=2)
        axis.set_title(f"{title} ({'more' if more else 'less'} is better)", fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=9)
    machine = result["machine"]
    figure.suptitle(
        f"medians of {result['rounds']} rounds; client and server share {machine['cores']} "
        f"cores of {machine['cpu']}",
        fontsize=11,
    )
    figure.savefig(target, dpi=80)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
