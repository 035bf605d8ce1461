"""Names of the Hugging Face Hub: found, downloaded with the config beside them, and one line without a network."""

import hashlib
import socket
import time
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from safetensors.torch import save_file

from models import start_of, weights_preprocessing
from models.trained_model import network_digest, open_model
from models.weights import hub
from models.weights.hub import HubFile, fetch
from tests.models.upstream import DEPTHS, ir_tensors
from tests.one_line import one_line

REPOSITORY = "minchul/cvlface_adaface_ir18"
COMMIT = "0123abc"


@pytest.fixture
def home(monkeypatch, tmp_path) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    return tmp_path


@pytest.fixture
def published(home, monkeypatch) -> Path:
    """A snapshot as huggingface_hub lays it out, of a network that takes BGR."""
    snapshot = home / "cache" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    tensors = {f"model.net.{name}": value for name, value in ir_tensors(DEPTHS[18], 8).items()}
    save_file(tensors, snapshot / "model.safetensors")
    (snapshot / "config.json").write_text('{"conf": {"color_space": "BGR"}}')

    def download(repository: str, file: str, revision: str) -> str:
        assert (repository, revision) == (REPOSITORY, "main")
        if not (snapshot / file).is_file():
            raise EntryNotFoundError(f"404 for {file}")
        return str(snapshot / file)

    monkeypatch.setattr(hub, "hf_hub_download", download)
    monkeypatch.setattr(hub, "get_hf_file_metadata", lambda url: url)
    monkeypatch.setattr(hub, "list_repo_files", lambda *_, **__: ["README.md", "model.safetensors"])
    return snapshot


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("hf:a/b", ("a/b", "model.safetensors", "main")),
        ("hf:a/b@v1.0", ("a/b", "model.safetensors", "v1.0")),
        ("hf:a/b/pretrained_model/model.pt", ("a/b", "pretrained_model/model.pt", "main")),
        ("hf:a-1/b.c/x.pth@refs/pr/3", ("a-1/b.c", "x.pth", "refs/pr/3")),
    ],
)
def test_names(name, expected):
    assert HubFile.named(name) == HubFile(*expected)


@pytest.mark.parametrize("name", ["hf:", "hf:a", "hf:a/b@", "hf:a/b/../../x", "hf:a b/c", "hf://a/b"])
def test_other_names_are_refused(name):
    assert "hf:OWNER/NAME[/FILE][@REVISION]" in one_line(lambda: fetch(name))


def test_training_starts_from_the_hub_and_its_record_says_from_what(published):
    name = f"hf:{REPOSITORY}"
    assert weights_preprocessing("ir_18", name)["std"] == [0.5, 0.5, 0.5]
    digest = hashlib.sha256((published / "model.safetensors").read_bytes()).hexdigest()
    assert start_of("ir_18", name) == {
        "file": "model.safetensors",
        "sha256": digest,
        "kind": "CVLface's ir_18",
        "revision": COMMIT,
    }
    assert start_of("ir_18", "none") is None


def test_a_file_that_a_repository_lacks_gets_one_line(published):
    message = one_line(lambda: fetch(f"hf:{REPOSITORY}/model.pt"))
    assert message == f"{REPOSITORY} has no model.pt; it has model.safetensors"


def test_without_a_network_the_line_says_at_once_which_file_goes_where(home, monkeypatch, caplog):
    """No name can be resolved: what huggingface_hub makes of it is its own."""

    def unknown(host: str, *_: object, **__: object) -> list:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("waited for a network"))
    name = "hf:owner/network/backbone.pth@v2"
    place = home / "torch" / "hub" / "checkpoints" / "hf" / "owner" / "network" / "v2" / "backbone.pth"
    message = one_line(lambda: fetch(name))
    assert f"get https://huggingface.co/owner/network/resolve/v2/backbone.pth and put it at {place}" in message
    place.parent.mkdir(parents=True)
    place.touch()
    assert fetch(name) == place
    assert not caplog.records


def test_without_a_network_cached_weights_without_a_config_are_found_again(published, monkeypatch):
    """The cache as huggingface_hub leaves it after it was told that there is no such file."""
    cache = published.parents[1] / "hub"
    repository = cache / f"models--{REPOSITORY.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    absent = repository / ".no_exist" / COMMIT
    absent.mkdir(parents=True)
    for config in ("config.json", "model.yaml"):
        (absent / config).touch()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))

    def cached(_: str, file: str, revision: str) -> str:
        if file != "model.safetensors":
            raise LocalEntryNotFoundError("no network")
        return str(published / file)

    monkeypatch.setattr(hub, "hf_hub_download", cached)
    assert fetch(f"hf:{REPOSITORY}") == published / "model.safetensors"


def test_weights_are_opened_without_the_name_of_their_backbone(published, tmp_path):
    weights = published / "model.safetensors"
    by_name, by_file = open_model(f"hf:{REPOSITORY}"), open_model(str(weights))
    named = open_model(str(weights), "ir_18")
    for opened in (by_name, by_file):
        assert opened.preprocessing == named.preprocessing and opened.threshold is None
        pairs = zip(opened.model.state_dict().values(), named.model.state_dict().values(), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)
    assert network_digest(f"hf:{REPOSITORY}") == hashlib.sha256(weights.read_bytes()).hexdigest()


def test_what_is_wrong_with_a_file_of_weights_is_said(published, tmp_path):
    """No option would help: weights are recognised by their tensors, or not at all."""
    other, cut, gone = (tmp_path / f"{name}.safetensors" for name in ("other", "cut", "gone"))
    save_file({"stem.weight": torch.zeros(3)}, other)
    cut.write_bytes((published / "model.safetensors").read_bytes()[:-1000])
    for path, words in ((other, "holds an unknown network"), (cut, "is damaged"), (gone, "there is no file")):
        message = one_line(lambda path=path: open_model(str(path)))
        assert words in message and "--backbone" not in message
