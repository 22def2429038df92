"""Bundled models are found by name, and are those that were measured."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from untrained import METADATA, tiny_model

from se3set_ase.checkpoint import registry
from se3set_ase.checkpoint.files import METADATA_FILE, WEIGHTS_FILE
from se3set_ase.checkpoint.metadata import CheckpointError
from se3set_ase.checkpoint.store import CARD_FILE, load_checkpoint, save_checkpoint


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A models folder in a source checkout, with two models."""
    root = tmp_path / "models"
    for name in ("acac", "ethanol"):
        metadata = dataclasses.replace(METADATA, name=name)
        save_checkpoint(root / name, tiny_model(), metadata)
    registry.write_registry(root)
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.setattr(
        registry, "__file__", str(tmp_path / "se3set_ase" / "checkpoint" / "registry.py")
    )
    monkeypatch.chdir(tmp_path)
    return root


def test_names_lead_to_models(models: Path) -> None:
    assert [info.name for info in registry.list_models()] == ["acac", "ethanol"]
    assert registry.list_models()[0].metadata.level_of_theory == METADATA.level_of_theory
    path = registry.resolve_model("acac")
    assert path == models / "acac"
    assert load_checkpoint(path)[1].name == "acac"


def test_paths_are_taken_as_they_are(models: Path) -> None:
    for path in (models / "acac", models / "acac" / WEIGHTS_FILE, "models/acac"):
        assert registry.resolve_model(path) == Path(path)


def test_a_bundled_name_takes_precedence_over_a_folder(models: Path) -> None:
    mine = Path("acac")
    save_checkpoint(mine, tiny_model(), METADATA)
    assert registry.resolve_model("acac") == models / "acac"
    assert registry.resolve_model("./acac") == mine
    assert registry.resolve_model(mine) == mine


def test_unknown_names_list_the_known_ones(models: Path) -> None:
    with pytest.raises(
        FileNotFoundError,
        match=r"no model 'acca': expected a bundled model \(acac, ethanol\) or an existing folder "
        r"or file\. Did you mean 'acac'\?",
    ):
        registry.resolve_model("acca")
    with pytest.raises(FileNotFoundError, match=r"or file\.$"):
        registry.resolve_model("zzzzzzz")
    with pytest.raises(CheckpointError, match=r"expected a model name or path, got ' '"):
        registry.resolve_model(" ")


def test_cards_of_listed_models_advise_their_names(models: Path) -> None:
    assert 'SE3SetCalculator("acac")' in (models / "acac" / CARD_FILE).read_text()
    mine = models.parent / "mine"
    save_checkpoint(mine, tiny_model(), METADATA)
    assert f'SE3SetCalculator("{mine}")' in (mine / CARD_FILE).read_text()


def test_relative_paths_start_from_a_given_folder(models: Path) -> None:
    save_checkpoint(models.parent / "runs" / "mine", tiny_model(), METADATA)
    runs = models.parent / "runs"
    assert registry.resolve_model("mine", relative_to=runs) == runs / "mine"
    assert registry.resolve_model("acac", relative_to=runs) == models / "acac"
    with pytest.raises(FileNotFoundError, match=rf"no model 'main' in {runs}: expected a bundled"):
        registry.resolve_model("main", relative_to=runs)


def test_without_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        registry, "__file__", str(tmp_path / "se3set_ase" / "checkpoint" / "registry.py")
    )
    assert registry.models_folder() is None
    assert registry.list_models() == []
    with pytest.raises(FileNotFoundError, match=r"expected a bundled model \(none\)"):
        registry.resolve_model("acac")


def test_models_of_an_installed_package_and_unrelated_folders(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert registry.models_folder() == models
    # Next to an installed package there is no pyproject.toml, and "models" is unrelated.
    (models.parent / "pyproject.toml").unlink()
    assert registry.models_folder() is None
    inside = models.parent / "se3set_ase"
    inside.mkdir()
    models.rename(inside / "models")
    assert registry.models_folder() == inside / "models"


@pytest.mark.parametrize(
    ("file", "text"),
    [
        (WEIGHTS_FILE, r"weights.safetensors is not the file that model.json describes"),
        (
            METADATA_FILE,
            r"the bundled model 'acac' is not the one that was released: checksum mismatch of "
            r".*model.json, recorded [0-9a-f]{64}, contents hash to [0-9a-f]{64}",
        ),
    ],
)
def test_bundled_files_that_changed(models: Path, file: str, text: str) -> None:
    other = models.parent / "other"
    metadata = dataclasses.replace(METADATA, name="acac", description="Another one.")
    save_checkpoint(other, tiny_model(seed=8), metadata)
    (models / "acac" / file).write_bytes((other / file).read_bytes())
    with pytest.raises(CheckpointError, match=text):
        load_checkpoint(registry.resolve_model("acac"))
    assert load_checkpoint(registry.resolve_model("ethanol"))  # the control


@pytest.mark.parametrize(
    ("file", "text"),
    [
        (
            WEIGHTS_FILE,
            r"lists the weights 'weights\.safetensors', but the folder has no such file",
        ),
        (METADATA_FILE, r"bundled model 'acac' lacks model\.json"),
    ],
)
def test_bundled_files_that_are_gone(models: Path, file: str, text: str) -> None:
    (models / "acac" / file).unlink()
    with pytest.raises(CheckpointError, match=text):
        load_checkpoint(registry.resolve_model("acac"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"format": "other", "schema_version": 1, "models": {}}',
        '{"format": "se3set-ase registry", "schema_version": 9, "models": {}}',
        '{"format": "se3set-ase registry", "schema_version": 1, "models": {"acac": {}}}',
    ],
)
def test_damaged_registry(models: Path, text: str) -> None:
    (models / "registry.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"list of bundled models, .*, is damaged: "):
        registry.resolve_model("acac")


def test_registry_is_written_from_the_folders(
    models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metadata = dataclasses.replace(METADATA, name="acac")
    save_checkpoint(models / "acac", tiny_model(channels=4), metadata)
    with pytest.raises(CheckpointError, match=r"run: python -m se3set_ase\.checkpoint\.registry"):
        registry.resolve_model("acac")
    assert registry.main([]) == 0
    assert "acac, ethanol" in capsys.readouterr().out
    assert registry.resolve_model("acac")
    content = json.loads((models / "registry.json").read_text())
    assert list(content["models"]) == ["acac", "ethanol"]


def test_a_model_that_does_not_load_is_not_listed(
    models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (models / "registry.json").read_bytes()
    (models / "acac" / WEIGHTS_FILE).write_bytes(b"")
    assert registry.main([str(models)]) == 2
    assert "error: " in capsys.readouterr().err
    assert (models / "registry.json").read_bytes() == before


def test_two_models_of_one_name(models: Path) -> None:
    save_checkpoint(models / "copy", tiny_model(), dataclasses.replace(METADATA, name="acac"))
    with pytest.raises(CheckpointError, match=r"two models are named 'acac': acac and copy"):
        registry.write_registry(models)


def test_registry_of_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no folder .*absent"):
        registry.write_registry(tmp_path / "absent")
