"""A checkpoint comes back as it went, or an error says what is wrong with it."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from untrained import ATOMIC_ENERGIES, METADATA, tiny_model

from se3set_ase import SE3SetCalculator
from se3set_ase.checkpoint.card import render_card
from se3set_ase.checkpoint.files import METADATA_FILE, WEIGHTS_FILE, describe_data_file
from se3set_ase.checkpoint.metadata import CheckpointError
from se3set_ase.checkpoint.store import CARD_FILE, load_checkpoint, load_metadata, save_checkpoint
from se3set_ase.io.files import sha256_of


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_checkpoint(folder, tiny_model(), METADATA)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(saved, tmp_path / "tiny"))


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads((folder / METADATA_FILE).read_text())
    change(content)
    (folder / METADATA_FILE).write_text(json.dumps(content))


def set_weights(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Replace the weights by others, with a matching checksum in the metadata."""
    safetensors.torch.save_file(tensors, folder / WEIGHTS_FILE)
    edit(folder, lambda c: c["weights"].update(sha256=sha256_of(folder / WEIGHTS_FILE), n_bytes=8))


# --- Round trip ------------------------------------------------------------------------------


@pytest.mark.parametrize("part", [".", WEIGHTS_FILE, METADATA_FILE])
def test_round_trip_from_folder_or_either_file(saved: Path, part: str) -> None:
    model, metadata = load_checkpoint(saved / part)
    expected = tiny_model()
    assert model.to_config() == expected.to_config()
    for name, tensor in expected.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name
    assert model.dtype == torch.float32
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())
    assert metadata.name == "tiny"
    assert metadata.atomic_energies == ATOMIC_ENERGIES  # to the last digit
    assert metadata.symbols == ("H", "C", "O")
    assert metadata.measured == METADATA.measured
    assert metadata.training_data == METADATA.training_data
    assert metadata.weights is not None
    assert metadata.weights.n_parameters == sum(p.numel() for p in expected.parameters())
    assert load_metadata(saved / part) == metadata


def test_requested_dtype_and_exact_widening(saved: Path) -> None:
    single, _ = load_checkpoint(saved)
    double, _ = load_checkpoint(saved, dtype=torch.float64)
    assert double.dtype == torch.float64
    for name, tensor in single.state_dict().items():
        assert torch.equal(double.state_dict()[name], tensor.double()), name
    assert double.reference.values.dtype == torch.float64
    assert double.reference.values[0].tolist() == list(ATOMIC_ENERGIES)


def test_double_precision_weights_are_exact(tmp_path: Path) -> None:
    model = tiny_model(dtype=torch.float64)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 1e-12  # lost in single precision
    save_checkpoint(tmp_path, model, METADATA)
    loaded, _ = load_checkpoint(tmp_path)
    assert loaded.dtype == torch.float64
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


def test_loading_does_not_change_random_numbers(saved: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    load_checkpoint(saved)
    assert torch.equal(torch.rand(1), expected)


def test_loaded_model_can_be_trained_on(saved: Path) -> None:
    model, _ = load_checkpoint(saved)
    model.requires_grad_(True)
    assert all(p.requires_grad and p.is_leaf for p in model.parameters())


# --- Saving ----------------------------------------------------------------------------------


def test_folder_contains_three_files_only(saved: Path) -> None:
    assert sorted(p.name for p in saved.iterdir()) == sorted(
        [CARD_FILE, METADATA_FILE, WEIGHTS_FILE]
    )


def test_saving_over_an_old_model_replaces_it(folder: Path) -> None:
    save_checkpoint(folder, tiny_model(channels=4), METADATA)
    assert load_checkpoint(folder)[0].network_config.channels == 4


@pytest.mark.parametrize("n_replaced", [0, 1, 2])
def test_a_killed_save_never_gives_a_mixed_model(
    folder: Path, monkeypatch: pytest.MonkeyPatch, n_replaced: int
) -> None:
    """Stopped before any file, after the weights, and after the card."""
    replaced: list[str] = []
    real = os.replace

    def replace(source: Path, target: Path) -> None:
        if len(replaced) == n_replaced:
            raise KeyboardInterrupt
        replaced.append(Path(target).name)
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(folder, tiny_model(channels=4), METADATA)
    monkeypatch.undo()
    assert sorted(p.name for p in folder.iterdir()) == sorted(
        [CARD_FILE, METADATA_FILE, WEIGHTS_FILE]
    )
    if n_replaced == 0:
        assert load_checkpoint(folder)[0].network_config.channels == 8
    else:
        assert METADATA_FILE not in replaced
        with pytest.raises(CheckpointError, match=r"(saving was interrupted|truncated)"):
            load_checkpoint(folder)


def test_weights_that_are_not_finite_are_not_saved(folder: Path) -> None:
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    model = tiny_model()
    name, parameter = next(iter(model.named_parameters()))
    with torch.no_grad():
        parameter.view(-1)[0] = float("nan")
    with pytest.raises(CheckpointError, match=r"expected finite weights, got NaN or infinity in "):
        save_checkpoint(folder, model, METADATA)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    assert name


def test_metadata_that_are_not_finite_are_not_saved(tmp_path: Path) -> None:
    bad = dataclasses.replace(METADATA, training={"loss": float("inf")})
    with pytest.raises(CheckpointError, match=r"metadata of model 'tiny' cannot be written"):
        save_checkpoint(tmp_path / "new", tiny_model(), bad)
    assert not (tmp_path / "new").exists()


def test_describe_data_file(tmp_path: Path) -> None:
    path = tmp_path / "data.xyz"
    path.write_bytes(b"abc")
    described = describe_data_file(path, n_frames=3, role="train")
    assert described.file == "data.xyz"
    # SHA-256 of "abc", FIPS 180-4, appendix B.1.
    assert described.sha256 == ("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")


@pytest.mark.parametrize("device", ["cuda", "cuda:7", "abacus"])
def test_missing_devices(saved: Path, device: str) -> None:
    with pytest.raises(
        ValueError,
        match=rf"expected device 'cpu' or one of the 0 CUDA devices .*, got '{device}'",
    ):
        load_checkpoint(saved, device=device)


# --- Files that cannot be used ---------------------------------------------------------------


def refused(path: Path, text: str) -> None:
    with pytest.raises(CheckpointError, match=text):
        load_checkpoint(path)


def test_missing_path(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no model at .*absent: expected a folder with"):
        load_checkpoint(tmp_path / "absent")


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    refused(tmp_path, r"is not a model folder: expected model\.json and .*, got notes\.txt")


@pytest.mark.parametrize("size", [0, 5, 100, 5000])
@pytest.mark.parametrize("part", [".", WEIGHTS_FILE])
def test_truncated_weights(folder: Path, size: int, part: str) -> None:
    path = folder / WEIGHTS_FILE
    whole = path.stat().st_size
    path.write_bytes(path.read_bytes()[:size])
    refused(
        folder / part, rf"weights\.safetensors is truncated: expected {whole} bytes, got {size}"
    )


def test_one_changed_bit(folder: Path) -> None:
    path = folder / WEIGHTS_FILE
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(bytes(content))
    refused(
        folder,
        r"weights\.safetensors is not the file that model\.json describes: checksum mismatch",
    )


def test_damaged_header(folder: Path) -> None:
    path = folder / WEIGHTS_FILE
    path.write_bytes(b"\xff" * 16 + path.read_bytes()[16:])
    refused(
        folder, r"weights\.safetensors is damaged or not a safetensors file: expected its header"
    )


def test_inconsistent_header(folder: Path) -> None:
    """Vouched for by the hash, and no safetensors file all the same."""
    content = (200).to_bytes(8, "little") + b'{"a": 1' + b" " * 400
    (folder / WEIGHTS_FILE).write_bytes(content)
    edit(
        folder,
        lambda c: c["weights"].update(sha256=sha256_of(folder / WEIGHTS_FILE), n_bytes=1),
    )
    refused(folder, r"weights\.safetensors cannot be read as safetensors: ")


def test_missing_weights(folder: Path) -> None:
    (folder / WEIGHTS_FILE).unlink()
    refused(folder, r"lists the weights 'weights\.safetensors', but the folder has no such file")


def test_foreign_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "bert.safetensors"
    safetensors.torch.save_file({"weight": torch.zeros(3)}, path)
    refused(path, r"contains tensors without metadata: expected model\.json in the same folder")


def test_foreign_json(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"model_type": "bert"}')
    refused(path, r"config\.json does not describe a se3set-ase model: expected .*, got None")


def test_json_that_is_not_an_object(folder: Path) -> None:
    (folder / METADATA_FILE).write_text("[1, 2]")
    refused(folder, r"expected a JSON object, got a list")


def test_foreign_file(tmp_path: Path) -> None:
    path = tmp_path / "molecule.xyz"
    path.write_text("3\nwater\n")
    refused(path, r"molecule\.xyz is not a se3set-ase model: .* its first bytes are b'3\\nwater")


@pytest.mark.parametrize("size", [0, 40, 600])
def test_truncated_json(folder: Path, size: int) -> None:
    path = folder / METADATA_FILE
    path.write_bytes(path.read_bytes()[:size])
    refused(folder, r"model\.json is not readable as JSON \(.*\): it is damaged or truncated")


def test_json_that_is_not_text(folder: Path) -> None:
    (folder / METADATA_FILE).write_bytes(b'{"name": "\xff\xfe"}')
    refused(folder, r"model\.json is not readable as JSON: expected UTF-8 text, got byte 0xff")


class Bomb:
    """Writes a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def write_torch(path: Path, content: object) -> None:
    torch.save(content, path)


def write_torch_legacy(path: Path, content: object) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


def write_pickle(path: Path, content: object) -> None:
    path.write_bytes(pickle.dumps(content))


@pytest.mark.parametrize("write", [write_torch, write_torch_legacy, write_pickle])
@pytest.mark.parametrize("name", [WEIGHTS_FILE, METADATA_FILE, "model.pt"])
def test_pickles_in_disguise_are_never_loaded(
    folder: Path, write: Callable[[Path, object], None], name: str
) -> None:
    trap = folder.parent / "trap"
    write(folder / name, {"weights": Bomb(trap)})
    text = rf"{name} is a (zip archive, as torch\.save writes it|Python pickle): pickles are never"
    refused(folder / name, text)
    if name != "model.pt":
        refused(folder, text)
    assert not trap.exists()
    # The control: the trap works.
    if write is write_pickle:
        pickle.loads((folder / name).read_bytes())
        assert trap.exists()


def test_future_schema(folder: Path) -> None:
    edit(folder, lambda c: c.update(schema_version=3, novelty=True))
    refused(
        folder,
        r"model\.json has schema version 3, but se3set-ase .* reads versions up to 1: "
        r".*pip install --upgrade se3set-ase",
    )


@pytest.mark.parametrize("version", ["1", 0, None, True, 1.5])
def test_invalid_schema_version(folder: Path, version: object) -> None:
    edit(folder, lambda c: c.update(schema_version=version))
    refused(folder, r"no valid schema version: expected the whole number 1, got ")


def test_missing_and_unknown_metadata_keys(folder: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        del content["charges"]
        content["colour"] = "red"

    edit(folder, change)
    refused(folder, r"missing \['charges'\], unknown \['colour'\]")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"scale": "big"}, r"scale: .* got 'big'"),
        ({"elements": [1, 8, 6]}, r"expected ascending atomic numbers in 'elements', got \[1, 8"),
        ({"elements": []}, r"expected atomic numbers in 'elements', got \[\]"),
        ({"elements": [1, 6, 700]}, r"expected atomic numbers in 'elements', got \[1, 6, 700\]"),
        ({"symbols": ["H", "C", "N"]}, r"'symbols' and 'elements' disagree"),
        ({"atomic_energies": [0.0]}, r"expected 3 numbers in 'atomic_energies', .* got 1"),
        ({"shifts": []}, r"expected 3 numbers in 'shifts', one per element, got 0"),
        ({"units": {"energy": "Hartree"}}, r"expected the units .*'eV'.* got .*Hartree"),
        ({"weights": None}, r"expected the entry 'weights', got null"),
    ],
)
def test_invalid_metadata_values(folder: Path, change: dict[str, Any], text: str) -> None:
    edit(folder, lambda c: c.update(change))
    refused(folder, text)


@pytest.mark.parametrize("name", ["../other.safetensors", "/etc/passwd", "..", "", "a\\b"])
def test_weights_outside_the_folder(folder: Path, name: str) -> None:
    edit(folder, lambda c: c["weights"].update(file=name))
    refused(folder, r"expected a plain file name in 'weights\.file', got ")


def test_numbers_that_json_does_not_have(folder: Path) -> None:
    path = folder / METADATA_FILE
    path.write_text(path.read_text().replace('"scale": 1.7', '"scale": NaN'))
    refused(folder, r"NaN is not a finite number")


@pytest.mark.parametrize("entry", ["network", "hypergraph"])
def test_unknown_and_missing_configuration_keys(folder: Path, entry: str) -> None:
    edit(folder, lambda c: c[entry].update(flux_capacitor=1.21))
    refused(folder, r"cannot build the model described there: .*flux_capacitor")
    edit(folder, lambda c: [c[entry].pop("flux_capacitor"), c[entry].popitem()])
    refused(folder, rf"the entry '{entry}' is incomplete: missing \[")


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c["atomic_energies"].__setitem__(0, c["atomic_energies"][0] + 0.01),
        lambda c: c.update(scale=1.71),
        lambda c: c["hypergraph"].update(cutoff=4.6),
        lambda c: c.update(charges=[0, 1]),
    ],
)
def test_entries_that_would_change_an_energy_silently(
    folder: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    edit(folder, change)
    refused(folder, "is not as it was saved: expected unchanged entries elements")


def test_descriptive_metadata_may_be_edited(folder: Path) -> None:
    edit(folder, lambda c: c.update(description="Another.", limits=["None."], name="other"))
    assert load_checkpoint(folder)[1].limits == ("None.",)


def test_unknown_architecture(folder: Path) -> None:
    edit(folder, lambda c: c["network"].update(architecture="mace"))
    refused(folder, r"expected architecture to be one of .*, got 'mace'")


def test_unknown_precision(folder: Path) -> None:
    edit(folder, lambda c: c["weights"].update(dtype="bfloat16"))
    refused(folder, r"weights\.dtype: input should be 'float32' or 'float64', got 'bfloat16'")


def test_missing_extra_and_misshaped_tensors_are_listed(folder: Path) -> None:
    tensors = safetensors.torch.load_file(folder / WEIGHTS_FILE)
    first, second, *_ = (name for name, tensor in sorted(tensors.items()) if tensor.dim() == 2)
    shape = tuple(tensors[second].shape)
    tensors["surplus"] = torch.zeros(2)
    tensors[second] = torch.zeros(1, 77)
    del tensors[first]
    set_weights(folder, tensors)
    refused(
        folder,
        rf"does not fit the network .*: missing tensors: {first}; extra tensors: surplus; tensors "
        rf"of another shape: {second} \(expected \({shape[0]}, {shape[1]}\), got \(1, 77\)\)",
    )


# --- Card ------------------------------------------------------------------------------------


def test_card_gives_limits_before_errors_before_use(saved: Path) -> None:
    card = (saved / CARD_FILE).read_text()
    assert card == render_card(load_metadata(saved), str(saved))
    places = [card.index(text) for text in ("## Limits", "## Measured errors", "## Use")]
    assert places == sorted(places)
    assert "Elements: **H, C, O** only" in card
    assert "Total charge: 0; spin multiplicity: 1." in card
    assert "* Knows no chemistry." in card
    assert "| test.xyz (test) | 650 | 1.25 | 1.50 | 0.10 | - | - |" in card
    assert "PBE-D3/def2-SVP" in card
    assert "ab" * 32 in card


def test_the_advice_of_a_card_loads_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new model has no bundled name: the card of a training gives its path."""
    monkeypatch.chdir(tmp_path)
    folder = Path('runs/o\'neil "b"/model')
    save_checkpoint(folder, tiny_model(), METADATA)
    (line,) = (
        text for text in (folder / CARD_FILE).read_text().splitlines() if "atoms.calc" in text
    )
    calc = eval(line.split("=", 1)[1], {"SE3SetCalculator": SE3SetCalculator})
    assert calc.potential.metadata.name == METADATA.name
    with pytest.raises(FileNotFoundError):
        SE3SetCalculator(METADATA.name)  # the control


def test_card_of_an_unmeasured_model() -> None:
    card = render_card(dataclasses.replace(METADATA, measured=()))
    assert "Not measured yet: do not rely on this model." in card
