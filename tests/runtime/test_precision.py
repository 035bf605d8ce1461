"""What auto means on which processor, and what a resumed run computes in."""

import dataclasses
import platform
from pathlib import Path

import pytest
import torch

from runtime import precision
from runtime.errors import InputError
from runtime.precision import Precision, cpu_has_bf16, make_precision, precision_of_resumed
from runtime.training.state import resume
from tests.engine import FOUR, Float32, evaluation, fit, lines, setup

CPU = torch.device("cpu")


@pytest.fixture
def processor(monkeypatch):
    """``processor(has_bf16)``: from then on it has the instructions, or not."""
    return lambda has: monkeypatch.setattr(precision, "cpu_has_bf16", lambda: has)


@pytest.mark.parametrize(
    ("has", "setting", "backbone", "name"),
    [
        (True, "auto", "inception_resnet_v1", "bf16"),
        (True, "auto", "mobilefacenet", "bf16"),
        (True, "auto", "iresnet50", "float32"),  # never measured
        (True, "float32", "mobilefacenet", "float32"),
        (False, "auto", "mobilefacenet", "float32"),
        (False, "bf16", "mobilefacenet", "bf16"),  # slowly
    ],
)
def test_auto_is_bf16_where_the_processor_has_it_and_the_backbone_gains(processor, has, setting, backbone, name):
    processor(has)
    chosen = make_precision(setting, CPU, backbone)
    assert (chosen.name, chosen.scaler.is_enabled()) == (name, False)
    with chosen.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == getattr(torch, {"bf16": "bfloat16"}.get(name, name))


@pytest.mark.filterwarnings("ignore:.*GradScaler is enabled")
def test_auto_is_fp16_on_a_gpu_that_only_emulates_bf16(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    older = make_precision("auto", torch.device("cuda"))
    assert older.name == "fp16"
    with pytest.raises(InputError, match="trained in bf16, for which this GPU has no instructions"):
        precision_of_resumed(older, "auto", "bf16", Path("run"))


def test_every_backbone_in_the_table_gains_enough_to_be_worth_it():
    assert all(bf16 >= 1.25 * float32 for float32, bf16 in precision.BF16_ON_CPU.values())


@pytest.mark.skipif(platform.machine() != "x86_64" or not Path("/proc/cpuinfo").is_file(), reason="x86 on Linux alone")
def test_the_processor_is_believed_as_the_kernel_describes_it():
    flags = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags"))
    assert cpu_has_bf16() == bool({"avx512_bf16", "amx_bf16"} & set(flags.split()))


def _trained(tmp_path, name, chosen="bf16", setting="auto", epochs=1, resumed=False):
    """The run, and the name of its precision; ``chosen`` is what a new run would have."""
    state, loader, run = setup(tmp_path, name, network=Float32)
    state.precision = make_precision(chosen, CPU)
    state.settings = dataclasses.replace(state.settings, precision=setting)
    if resumed:
        resume(state, run)
    fit(state, loader, run, evaluation(FOUR), epochs=epochs)
    return run, state.precision.name


def test_a_resumed_run_keeps_its_precision_whatever_auto_means_by_now(tmp_path, processor):
    processor(True)
    whole, _ = _trained(tmp_path, "whole", epochs=2)
    run, _ = _trained(tmp_path, "cut")
    assert torch.load(run.last, weights_only=True)["precision"] == "bf16"
    processor(False)
    with pytest.raises(InputError, match=rf"trained in bf16.*processor.*--resume {run.path} --precision float32$"):
        _trained(tmp_path, "cut", "float32", resumed=True)
    processor(True)
    assert _trained(tmp_path, "cut", "float32", epochs=2, resumed=True)[1] == "bf16"
    assert lines(run) == lines(whole)


@pytest.mark.parametrize("setting", ["float32", "bf16"])
def test_a_precision_that_is_asked_for_counts_on_any_processor(tmp_path, processor, setting):
    processor(True)
    _trained(tmp_path, "run")
    processor(False)
    assert _trained(tmp_path, "run", setting, setting, epochs=2, resumed=True)[1] == setting


def test_a_run_from_before_the_precision_was_stored_stays_at_float32(tmp_path, monkeypatch):
    real = torch.save
    monkeypatch.setattr(torch, "save", lambda content, *a, **k: real(_without_precision(content), *a, **k))
    run, _ = _trained(tmp_path, "run", "float32")
    assert "precision" not in torch.load(run.last, weights_only=True)
    assert _trained(tmp_path, "run", "bf16", epochs=2, resumed=True)[1] == "float32"


def test_a_run_that_continues_in_fp16_starts_with_a_new_scaler(tmp_path):
    run, _ = _trained(tmp_path, "run", "float32")
    state, _, _ = setup(tmp_path, "run", network=Float32)
    state.precision = Precision("fp16", CPU, torch.amp.GradScaler("cpu"))
    state.settings = dataclasses.replace(state.settings, precision="fp16")
    resume(state, run)
    assert state.epoch == 1 and state.precision.scaler.get_scale() == torch.amp.GradScaler("cpu").get_scale()


def _without_precision(content):
    return {name: value for name, value in content.items() if name != "precision"}
