"""Training configurations: each trains one model from files that exist or that a step writes."""

from pathlib import Path

import pytest

from research import reproduce
from research.paths import CONFIGS, MODELS, RUNS
from se3set_ase.checkpoint import load_metadata
from se3set_ase.train.config import RunConfig, load_config

FILES = sorted(CONFIGS.glob("*.yaml"))


def test_every_bundled_model_has_its_configuration() -> None:
    bundled = {path.parent.name for path in MODELS.glob("*/model.json")}
    names = {load_config(path).name: path.stem for path in FILES}
    assert len(names) == len(FILES)
    assert bundled < names.keys()
    assert all(names[name] == name for name in bundled)
    # These have their configurations before they are trained and bundled.
    coming = {"organic-xtb", "organic-direct"}
    assert {names[name] for name in names.keys() - bundled - coming} == {
        "3bpa-pretrain", "acac-pretrain", "ethanol-pretrain",
        "organic-gfn2-pretrain", "organic-gfn2-second", "organic-xtb-first", "gfn2-bulk",
        "gfn2-large",
    }  # fmt: skip


@pytest.mark.parametrize("name", sorted(path.parent.name for path in MODELS.glob("*/model.json")))
def test_a_new_training_has_the_same_card(name: str) -> None:
    config, metadata = load_config(CONFIGS / f"{name}.yaml"), load_metadata(MODELS / name)
    assert config.description == metadata.description
    assert config.limits
    assert metadata.limits[: len(config.limits)] == config.limits
    assert config.data.level_of_theory == metadata.level_of_theory
    assert config.data.source == metadata.training["data_source"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_input_files_are_tracked_or_written_by_a_step(path: Path) -> None:
    config = load_config(path)
    files = [config.data.train, config.data.isolated_atoms, *config.data.tests.values()]
    if isinstance(config.data.validation, Path):
        files.append(config.data.validation)
    for file in files:
        if file is not None and RUNS not in file.resolve().parents:
            assert file.is_file()
    if config.initial is not None and RUNS in (folder := config.initial.resolve()).parents:
        assert folder.parent.name in {load_config(other).name for other in FILES}
    elif config.initial is not None:
        assert (config.initial / "model.json").is_file()


@pytest.mark.parametrize(
    "name",
    sorted({*reproduce.COMING, *(path.parent.name for path in MODELS.glob("*/model.json"))}),
)
def test_steps_of_a_model_write_what_its_trainings_read(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step is replaced by one that only writes its files."""
    monkeypatch.setattr(reproduce, "RUNS", tmp_path)
    trained: list[RunConfig] = []

    def written(file: Path) -> bool:
        return (tmp_path / file.resolve().relative_to(RUNS)).exists()

    def run(module: str, *arguments: object) -> None:
        options = [str(argument) for argument in arguments]
        if module == "research.gfn2.frames":
            touch(Path(options[-1]), Path(options[-1]).with_name("isolated_atoms.xyz"))
        elif module == "research.organic.atoms":
            folder = tmp_path / "geometries"
            touch(folder / "isolated_atoms.xyz", folder / "isolated_atoms-gfn2.xyz")
        elif module == "research.gfn2.dataset":
            folder = tmp_path / "bulk"
            touch(folder / "train.xyz", folder / "isolated_atoms.xyz")
        elif module == "research.correction.dataset":
            folder = tmp_path / "labels"
            touch(folder / "train.xyz", folder / "isolated_atoms.xyz")
        elif module == "research.correction.first":
            touch(tmp_path / "labels" / "first.xyz")
        elif module == "se3set_ase" and options[0] == "label":
            touch(Path(options[-1]))
        elif module == "se3set_ase":
            config = load_config(options[1])
            inputs = [config.data.train, config.data.isolated_atoms]
            for file in inputs:
                if file is not None and RUNS / "data" not in file.resolve().parents:
                    assert not file.resolve().is_relative_to(RUNS) or written(file), file
            if config.initial is not None and config.initial.resolve().is_relative_to(RUNS):
                assert written(config.initial / "model.json")
            trained.append(config)
            touch(tmp_path / config.name / "model" / "model.json")

    monkeypatch.setattr(reproduce, "run", run)
    monkeypatch.setattr("sys.argv", ["reproduce", name, "--data", str(tmp_path / "data")])
    reproduce.main()
    assert trained[-1].name == name
    before = len(trained)
    reproduce.main()
    assert [config.name for config in trained[before:]] == [name]  # the rest is there already


def touch(*files: Path) -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
