"""A run folder from somebody else's weight file; no code from the file is run."""

from pathlib import Path

from models.build import build_model
from models.network_run import refuse_existing, write_network_run
from models.weights.imported import Imported
from models.weights.read import read_network
from runtime.checkpoints.file import load_state, require_finite
from runtime.files import sha256


def import_file(path: Path, out: Path) -> Imported:
    """Read ``path`` and make the run folder ``out``: best.pt, with a threshold if the file states one, and config.json.

    Raises InputError: no such file, damaged, refused (see ``read_pickled``), a network that is not here, or a
    folder that exists.
    """
    refuse_existing(out)
    network = read_network(path)
    settings = {**network.settings, "dropout": 0.0}
    model = build_model(**settings, pretrained="none")
    require_finite(network.state, str(path))
    load_state(model, network.state, str(path))
    origin = {"file": path.name, "sha256": sha256(path), "kind": network.kind}
    chosen = dict(network.chosen)
    if "mirror" in chosen:
        settings["mirror"] = chosen.pop("mirror")
    content = {"model": model.state_dict(), "settings": settings, "preprocessing": network.preprocessing, **chosen}
    content["origin"] = origin
    if network.class_centres is not None:
        content["criterion"] = {"weight": network.class_centres}
    write_network_run(out, {**settings, "imported_from": origin}, content)
    return network
