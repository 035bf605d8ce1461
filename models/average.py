"""One network from several: the mean of their weights.

    python -m models.average results/A results/B results/C --out results/MEAN
    python -m models.average results/START results/FINE_TUNED --shares 0.25 0.75 --out results/BETWEEN

Networks that were fine-tuned from the same weights often average to one that is better than each ("model soups",
Wortsman et al. 2022, arXiv:2203.05482), and a fine-tuned one moved part of the way back to its start loses less of what
the start could do (Wortsman et al. 2021, arXiv:2109.01903). Networks trained from scratch have no common start: their
mean knows nothing. The run has no threshold yet; it is used as an imported one is.
"""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro
from torch import Tensor

from models.network_run import refuse_existing, write_network_run
from runtime.checkpoints.file import find_checkpoint, load_network
from runtime.errors import InputError, one_line_errors
from runtime.files import sha256

# What makes a network, of a run's settings.
_NETWORK = ("backbone", "embedding_size", "pooling", "dropout", "image_size", "mirror")


@dataclasses.dataclass(frozen=True)
class AverageSettings:
    """Which runs, and where the new one goes."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Two or more run folders (their best.pt counts) or checkpoints."""
    out: Path
    """Run folder to make."""
    shares: tuple[float, ...] = ()
    """Of each run in the mean, which add up to 1; empty: all alike."""


def average(settings: AverageSettings) -> None:
    """Make the run folder ``out``: best.pt, without a threshold, and config.json.

    Raises InputError: fewer than two runs, shares that don't fit, no such run, networks of different architectures or
    for different inputs, or a folder that exists.
    """
    shares = _shares(settings)
    refuse_existing(settings.out)
    paths = [find_checkpoint(run) for run in settings.runs]
    contents = [load_network(path) for path in paths]
    _refuse_different(contents, paths)
    first = contents[0]
    network = {name: first["settings"][name] for name in _NETWORK if name in first["settings"]}
    origin = [
        {"run": path.parent.name, "sha256": sha256(path), "share": share}
        for path, share in zip(paths, shares, strict=True)
    ]
    content = {
        "model": weighted_mean([content["model"] for content in contents], shares),
        "settings": network,
        "preprocessing": first["preprocessing"],
        "origin": origin,
    }
    write_network_run(settings.out, {**network, "averaged_from": origin}, content)


def weighted_mean(states: Sequence[dict[str, Tensor]], shares: Sequence[float]) -> dict[str, Tensor]:
    """Σ share · tensor of state dicts with the same names and shapes; of counters, which are whole, the first's."""
    found = {}
    for name, tensor in states[0].items():
        found[name] = tensor
        if tensor.is_floating_point():
            parts = (share * state[name].double() for share, state in zip(shares, states, strict=True))
            found[name] = sum(parts).to(tensor.dtype)
    return found


def main() -> None:
    """The command."""
    settings = tyro.cli(AverageSettings, description=__doc__)
    average(settings)
    print(f"the mean of {len(settings.runs)} networks is in {settings.out}")


def _shares(settings: AverageSettings) -> tuple[float, ...]:
    count = len(settings.runs)
    if count < 2:
        raise InputError("the mean of one network is itself; name two runs or more")
    shares = settings.shares or (1 / count,) * count
    if len(shares) != count:
        raise InputError(f"there are {count} runs and {len(shares)} shares; give a share for each run")
    if min(shares) < 0 or not math.isclose(sum(shares), 1, abs_tol=1e-6):
        raise InputError(f"the shares are {', '.join(map(str, shares))}; none may be below 0, and their sum must be 1")
    return shares


def _refuse_different(contents: Sequence[dict], paths: Sequence[Path]) -> None:
    first, *others = contents
    for content, path in zip(others, paths[1:], strict=True):
        if _shapes(content) != _shapes(first):
            raise InputError(f"{path} is of another architecture than {paths[0]}; only equal ones can be averaged")
        if content["preprocessing"] != first["preprocessing"]:
            raise InputError(
                f"{path} needs another input (size, crop, mean, std) than {paths[0]}; no average is possible"
            )


def _shapes(content: dict) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in content["model"].items()}


if __name__ == "__main__":
    with one_line_errors():
        main()
