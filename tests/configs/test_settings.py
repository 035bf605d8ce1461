import dataclasses
import json
import math

import pytest

import main_arcface
import main_triplet
from configs import parse_settings
from configs.cli import apply_preset, preset_names
from configs.presets.demo import DELTAS
from runtime.errors import InputError

SCRIPTS = [main_arcface, main_triplet]
OF_MACHINE_AND_RUN = {
    *("device", "gpus", "precision", "compile", "cuda_graphs", "activation_checkpointing", "workers", "deterministic"),
    *("max_unreadable", "measure_least_face", "data_timeout_minutes", "results_dir", "run_name", "checkpoint_minutes"),
    *("keep_checkpoints", "collapse_check_steps", "tensorboard", "profile", "preset", "resume"),
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_without_options_the_constants_hold(script):
    assert parse_settings(script.SETTINGS, "text", []) == script.SETTINGS


def test_any_constant_can_be_overridden_with_either_spelling():
    settings = parse_settings(
        main_arcface.SETTINGS, "text", ["--epochs", "3", "--backbone", "seresnext101", "--embedding_size", "64"]
    )
    assert (settings.epochs, settings.backbone, settings.embedding_size) == (3, "seresnext101", 64)
    changed = {"epochs": 3, "backbone": "seresnext101", "embedding_size": 64}
    assert settings == dataclasses.replace(main_arcface.SETTINGS, **changed)


def test_a_mistyped_name_is_an_error_with_a_suggestion(capsys):
    with pytest.raises(SystemExit) as stop:
        parse_settings(main_arcface.SETTINGS, "text", ["--epohcs", "3"])
    assert stop.value.code != 0
    assert "--epochs" in "".join(capsys.readouterr())


def test_help_explains_every_setting(capsys):
    with pytest.raises(SystemExit) as stop:
        parse_settings(main_triplet.SETTINGS, "what this script does", ["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "what this script does" in text
    for field in dataclasses.fields(main_triplet.SETTINGS):
        assert f"--{field.name.replace('_', '-')}" in text
    assert "How much farther the negative must be" in text


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_preset_fits_and_options_count_on_top(script):
    names = preset_names(type(script.SETTINGS))
    assert {"demo", "effnet_b2", "effnet_b3", "effnet_b4"} <= set(names)
    for name in names:
        settings = parse_settings(script.SETTINGS, "text", ["--preset", name, "--epochs", "2"])
        assert settings.epochs == 2
        assert settings.preset == name


def test_presets_of_the_original_have_its_numbers():
    model1 = apply_preset(main_arcface.SETTINGS, "model1")
    assert (model1.scale, model1.margin, model1.focal_gamma, model1.batch_size) == (45, 0.4, 2, 128)
    assert (model1.lr, model1.weight_decay, model1.dropout, model1.epochs) == (0.1, 5e-4, 0.4, 25)
    assert (model1.milestones, model1.pretrained) == ((5, 10, 15, 20), "vggface2")
    model2 = apply_preset(main_triplet.SETTINGS, "model2")
    assert (model2.people_per_batch, model2.images_per_person, model2.optimiser) == (20, 30, "adadelta")
    assert model2.margin < 2
    assert apply_preset(main_arcface.SETTINGS, "model3").backbone == "seresnext101"


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_demo_preset_is_what_the_scripts_ship_with(script):
    demo = apply_preset(script.SETTINGS, "demo")
    assert dataclasses.replace(demo, preset="") == script.SETTINGS
    # And all of it, but for what belongs to a machine or a run: constants may have been edited.
    named = DELTAS[type(demo).__name__]
    assert {field.name for field in dataclasses.fields(demo)} - OF_MACHINE_AND_RUN == set(named)


def test_a_preset_that_is_not_there_or_of_the_other_script_is_said():
    with pytest.raises(InputError, match="did you mean model1"):
        apply_preset(main_arcface.SETTINGS, "modle1")
    with pytest.raises(InputError, match="for the other script"):
        apply_preset(main_arcface.SETTINGS, "model2")


def test_a_resumed_run_brings_its_own_settings_and_options_count_on_top(tmp_path):
    saved = dataclasses.replace(main_arcface.SETTINGS, epochs=9, lr=0.5, milestones=(2, 4))
    (tmp_path / "config.json").write_text(json.dumps({"settings": saved.to_dict()}))
    settings = parse_settings(main_arcface.SETTINGS, "text", ["--resume", str(tmp_path), "--epochs", "12"])
    assert settings == dataclasses.replace(saved, epochs=12, resume=str(tmp_path))
    with pytest.raises(InputError, match="of the other script"):
        parse_settings(main_triplet.SETTINGS, "text", ["--resume", str(tmp_path)])
    with pytest.raises(InputError, match="not a run folder"):
        parse_settings(main_arcface.SETTINGS, "text", ["--resume", str(tmp_path / "none")])


def test_a_preset_beside_a_resume_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"settings": main_arcface.SETTINGS.to_dict()}))
    with pytest.raises(InputError, match="keeps its own settings"):
        parse_settings(main_arcface.SETTINGS, "text", ["--resume", str(tmp_path), "--preset", "model1"])


def test_a_setting_that_was_added_later_takes_the_value_of_its_class():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Grown(type(main_arcface.SETTINGS)):
        added: float = 0.25

    old = main_arcface.SETTINGS.to_dict()
    assert Grown.from_dict(old, "run").added == 0.25
    assert Grown.from_dict(old | {"added": 1.5}, "run").added == 1.5
    with pytest.raises(InputError, match="newer version .*: added"):
        type(main_arcface.SETTINGS).from_dict(old | {"added": 1.5}, "run")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lr", "fast"), ("lr", math.nan), ("epochs", True), ("epochs", 2.5), ("optimiser", "fastest"),
        ("gpus", [0, "a"]), ("milestones", 3), ("workers", 10**9), ("mirror", "no"), ("run_name", None),
        ("embedding_size", "512"),
    ],
)  # fmt: skip
def test_a_saved_setting_of_another_type_is_refused_with_its_name(tmp_path, name, value):
    config = {"settings": main_arcface.SETTINGS.to_dict() | {name: value}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=f"{tmp_path}: {name} is") as error:
        parse_settings(main_arcface.SETTINGS, "text", ["--resume", str(tmp_path)])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dropout", 1.0), ("epochs", 0), ("mask_probability", -0.1), ("lr", 0.0), ("batch_size", 1), ("seed", -1),
        ("workers", -2), ("clip_grad_norm", -1.0), ("most_images", -1), ("data_timeout_minutes", -1.0), ("seed", 2**63),
        ("eval_csvs", ()), ("margin_warmup_epochs", -0.5),
    ],
)  # fmt: skip
def test_senseless_values_are_refused(name, value):
    with pytest.raises(InputError, match=name):
        dataclasses.replace(main_arcface.SETTINGS, **{name: value})


def test_tensorboard_that_is_not_installed_is_said(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="requirements-extras.txt"):
        dataclasses.replace(main_arcface.SETTINGS, tensorboard=True)


@pytest.mark.parametrize(("share", "optimiser"), [(0.0, "sgd"), (1.5, "sgd"), (0.5, "adamw")])
def test_a_sampled_share_needs_sgd_and_a_sensible_value(share, optimiser):
    with pytest.raises(InputError, match="sampled_share"):
        dataclasses.replace(main_arcface.SETTINGS, sampled_share=share, optimiser=optimiser)
    assert dataclasses.replace(main_arcface.SETTINGS, sampled_share=0.1, optimiser="sgd").sampled_share == 0.1


def test_the_two_scripts_differ_in_objective_sampler_and_numbers_alone():
    """The same settings under the same headings; what one script has and the other has not is the objective's."""
    arcface, triplet = ({f.name for f in dataclasses.fields(s.SETTINGS)} for s in SCRIPTS)
    assert arcface - triplet == {
        "batch_size", "balanced", "scale", "margin_kind", "sub_centres", "sampled_share", "shard_classes",
        "focal_gamma", "frequency_weights", "label_smoothing", "margin_warmup_epochs", "centres_from", "length_effect",
            "largest_margin", "length_range", "length_weight",
    }  # fmt: skip
    assert triplet - arcface == {
        "people_per_batch", "images_per_person", "epoch_mode", "mining", "squared", "allow_saturating_margin"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "named"), [({}, "compile"), ({"compile": True, "accumulate_steps": 2}, "one part")]
)
def test_cuda_graphs_need_a_compiled_network_and_a_batch_in_one_part(changes, named):
    with pytest.raises(InputError, match=f"cuda_graphs .* {named}"):
        dataclasses.replace(main_arcface.SETTINGS, cuda_graphs=True, **changes)
    assert dataclasses.replace(main_arcface.SETTINGS, cuda_graphs=True, compile=True).cuda_graphs
