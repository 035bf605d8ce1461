"""A folder ready to publish on the Hugging Face Hub: weights, config, and a model card."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.files import replace_folder, write_file

# What is certain about the licences of what others published.
_LICENCES = {
    "InsightFace": "InsightFace licenses its models for non-commercial research only, and the same applies to this one",
    "facenet-pytorch": "facenet-pytorch is under the MIT licence; its networks were trained on research data sets",
}
_UNKNOWN = "The licence is not recorded: check the source of the weights before you publish or use this network"
_SCRATCH = "It was trained from scratch: choose a licence that the terms of the training images allow"


@dataclass(frozen=True)
class Card:
    """What a model card says. ``table``: head and rows of the test results, empty if there are none."""

    name: str
    metadata: Mapping[str, str]  # as in the safetensors file
    alignment: str
    trained_on: str
    start: Mapping | None  # as in a run's config.json; None: not recorded, or none
    from_scratch: bool
    table: Sequence[Sequence[str]]


def write_hub_folder(folder: Path, weights: bytes, card: Card) -> None:
    """Make ``folder``: model.safetensors, config.json, README.md. Raises InputError as ``replace_folder`` does."""
    with replace_folder(folder) as draft:
        write_file(draft / "model.safetensors", weights)
        write_file(draft / "config.json", json.dumps(dict(card.metadata), indent=2) + "\n")
        write_file(draft / "README.md", model_card(card))


def model_card(card: Card) -> str:
    """The text of README.md."""
    network = json.loads(card.metadata["network"])
    what = f"{network['backbone']}, pooling {network['pooling']}, {network['embedding_size']}-dimensional embeddings"
    return "\n".join(
        [
            "---",
            "license: other",
            "tags: [face-recognition, masked-face-recognition]",
            "---",
            "",
            f"# {card.name}",
            "",
            f"A network that turns a face, with or without a mask, into an embedding: {what}.",
            "",
            "## Training",
            "",
            f"{card.trained_on} {_start(card)}",
            "",
            "## Results",
            "",
            *_results(card.table),
            "",
            "## Input and output",
            "",
            f"- Alignment: {card.alignment}. Crop: {card.metadata['crop_meaning']}.",
            f"- Input: {card.metadata['channel_order']}, {card.metadata['preprocessing']};"
            f" mean {card.metadata['mean']}, std {card.metadata['std']}.",
            f"- Output: unit embeddings. Post-processing: {card.metadata['postprocessing']}.",
            f"- Threshold: {card.metadata['threshold']} ({card.metadata['threshold_source']}).",
            "",
            "The metadata of `model.safetensors`, the same as in `config.json`, say how the network was built. In the "
            "project that trained it, `--pretrained hf:OWNER/NAME` starts from it.",
            "",
            "## Limits",
            "",
            "- Faces aligned in another way give worse embeddings; so do masks unlike those of the training.",
            "- The threshold was chosen on other people, but on similar images: choose it again on your own data.",
            "- Error rates differ between demographic groups and were not measured separately here.",
            "- A face is personal data: ask the people whose faces you compare.",
            "",
            "## Licence",
            "",
            f"{_licence(card)}.",
            "",
        ]
    )


def _results(table: Sequence[Sequence[str]]) -> list[str]:
    if not table:
        return ["This network has not been tested."]
    head, *rows = (f"| {' | '.join(cells)} |" for cells in table)
    rule = f"|{' --- |' * len(table[0])}"
    return [head, rule, *rows, "", "In brackets: 95 % intervals over people. A TAR needs 10/FAR impostor pairs."]


def _start(card: Card) -> str:
    start = card.start
    if not start:
        return "It started from scratch." if card.from_scratch else "What it started from is not recorded."
    revision = f", revision {start['revision']}" if start.get("revision") else ""
    return f"It started from {start['kind']}: {start['file']}{revision}, SHA-256 {start['sha256']}."


def _licence(card: Card) -> str:
    start = card.start
    if not start:
        return _SCRATCH if card.from_scratch else _UNKNOWN
    known = (text for name, text in _LICENCES.items() if name in start["kind"])
    return f"It started from {start['kind']}. {next(known, _UNKNOWN)}"
