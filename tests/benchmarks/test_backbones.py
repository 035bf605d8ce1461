"""The costs of backbones that can be counted by hand, and the page."""

import json

import pytest
import tyro

from benchmarks import backbones
from benchmarks.harness.fresh_network import fresh_network


@pytest.fixture
def page(tmp_path, capsys):
    """``page(*options)``: the command's Markdown, its JSON rows and what it printed."""

    def call(*options):
        md, rows = tmp_path / "page.md", tmp_path / "rows.json"
        words = ["--page", str(md), "--json", str(rows), *map(str, options)]
        assert backbones.main(tyro.cli(backbones.BackboneOptions, args=words)) == 0
        return md.read_text(), json.loads(rows.read_text())["rows"], capsys.readouterr().out

    return call


def test_the_page_has_a_row_of_costs_for_each_backbone(page, tmp_path, monkeypatch):
    monkeypatch.setattr(backbones, "_ROUNDS", 1)
    monkeypatch.setattr(backbones, "BATCH", 2)
    text, (row,), said = page("--only", "mobilefacenet", "--seconds", 0, "--no-onnx")
    assert row["backbone"] == "mobilefacenet" and "mobilefacenet" in said
    assert row["parameters (M)"] == pytest.approx(1.0, abs=0.05)  # as its weight file has
    assert row["multiply-adds (G)"] == pytest.approx(0.22, abs=0.03)  # Chen et al. 2018, table 2
    assert row["training (images/s)"] > 0 and row["inference time (relative)"] > 0 and row["ONNX (MB)"] is None
    (line,) = [line for line in text.splitlines() if line.startswith("| `mobilefacenet`")]
    assert line.endswith("| – | InsightFace, model zoo (MXNet) |")
    assert "--page docs/backbones.md" in text and str(tmp_path) not in text


def test_multiply_adds_of_an_iresnet50_are_those_that_are_published():
    assert backbones.multiply_adds(fresh_network("iresnet50", 112)) == pytest.approx(6.3e9, rel=0.02)


def test_weights_that_have_a_name_or_a_home_are_listed():
    assert backbones.published_weights("inception_resnet_v1") == "`vggface2`, `casia-webface`"
    assert backbones.published_weights("iresnet100") == "InsightFace, arcface_torch"
    assert backbones.published_weights("ir_101_se") == "AdaFace, CVLface"
    assert backbones.published_weights("ir_101_se_curricular") == "CurricularFace"
