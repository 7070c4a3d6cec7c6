"""All trainings by name: `legan train NAME` and `legan export` do the same for each of them."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from legan.core.conditions import Classes
from legan.core.config import read_toml
from legan.core.errors import ConfigError, WeightsError, no_such
from legan.core.weights import PACKAGED, weights_file
from legan.train import expression, identity, legan, quality, stargan, starganv2
from legan.train.config import change_settings
from legan.train.loop import Build, Outcome, Rehearsal, launched, rehearse, run_task
from legan.train.run_folder import CONFIG, init_path


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A training: its settings, what builds it, and what becomes of it.

    Args:
        config: class of its config; see `train.config` for what all share.
        presets: configs to start from, by name.
        build: makes the task and its batches from the config and the device; a function of a module.
        export: writes the weights of a run folder to a file, with known faults, and returns the metadata.
        weights: name of the file that is exported into the run folder when the training is finished; None: only `legan export` does.
        shaped_as_init: returns a config with the networks' shapes of the weights that a run starts from; None: it starts from no
            others.
        shaped_by_classes: returns a config whose networks know the classes that the settings declare (`data.expressions`,
            `data.lightings`); None: it declares none.
    """

    config: type
    presets: Mapping[str, Any]
    build: Build[Any]
    export: Callable[[Path, Path, Sequence[str]], dict[str, Any]]
    weights: str | None = None
    shaped_as_init: Callable[[Any, Path, Path], Any] | None = None
    shaped_by_classes: Callable[[Any, Classes], Any] | None = None

    def configure(
        self,
        preset: str,
        data: Sequence[Path],
        run: Path,
        settings: Sequence[str] = (),
        init: Path | None = None,
        labels: Path | None = None,
    ) -> Any:
        """Return the config of a run: the preset, the shapes of `init`, settings, then paths, all absolute; as for `train`.

        Raises:
            ConfigError: no such preset, or a setting that is wrong.
            WeightsError: `init` does not hold such networks.
        """
        if preset not in self.presets:
            raise ConfigError(no_such("preset", preset, self.presets))
        config = self.presets[preset]
        if self.shaped_as_init is not None:
            init = init or change_settings(config, settings).init
            config = config if init is None else self.shaped_as_init(config, init, run)
        if self.shaped_by_classes is not None:
            config = self.shaped_by_classes(config, change_settings(config, settings).data.classes)
        config = change_settings(config, settings)
        if init is not None:
            config = replace(config, init=init)
        if labels is not None:
            config = replace(config, data=replace(config.data, labels=labels))
        # A run goes on wherever it is continued from.
        return on_folders(_absolute(replace(config, data=_absolute(config.data))), data)

    def train(
        self,
        preset: str,
        data: Sequence[Path],
        run: Path,
        settings: Sequence[str] = (),
        devices: int = 1,
        dry_run: bool = False,
        init: Path | None = None,
        labels: Path | None = None,
    ) -> Outcome | Rehearsal | None:
        """Train in a run folder, or continue the training that it holds.

        Args:
            preset: name of one of `presets`.
            data: data set folders.
            run: the run folder; `weights` in it is the result.
            settings: changes of the preset, such as "optimizer.lr=1e-3".
            devices: processes to train in; 1 within torchrun, which starts them.
            dry_run: build everything, time a few steps, write nothing.
            init: weights to start from, a file or `packaged`; the networks take their shape.
            labels: ratings of the data.

        Returns:
            None for a dry run in all processes of torchrun but the first.

        Raises:
            LeganError: as `configure`, `build` and `run_task`.
        """
        config = self.configure(preset, data, run, settings, init, labels)
        place = launched()
        if dry_run and place is not None:
            return rehearse(self.build, config, place.n_ranks) if place.rank == 0 else None
        if dry_run:
            return rehearse(self.build, config, devices)
        outcome = run_task(self.build, config, run, devices)
        if outcome.finished and outcome.rank == 0 and self.weights is not None:
            self.export(outcome.run, outcome.run / self.weights, ())
        return outcome


RECIPES = {
    "legan": Recipe(
        legan.LeganConfig,
        legan.PRESETS,
        legan.build_legan,
        legan.export_legan,
        shaped_as_init=legan.shaped_as_init,
        shaped_by_classes=legan.shaped_by_classes,
    ),
    "stargan": Recipe(
        stargan.StarGANConfig,
        stargan.PRESETS,
        stargan.build_stargan,
        stargan.export_stargan,
        shaped_by_classes=stargan.shaped_by_classes,
    ),
    "starganv2": Recipe(
        starganv2.StarGANv2TrainingConfig,
        starganv2.PRESETS,
        starganv2.build_starganv2,
        starganv2.export_starganv2,
        shaped_by_classes=starganv2.shaped_by_classes,
    ),
    "quality": Recipe(
        quality.QualityTrainingConfig,
        quality.PRESETS,
        quality.build_quality,
        quality.export_quality,
        quality.WEIGHTS,
        quality.shaped_as_init,
    ),
    "identity": Recipe(
        identity.IdentityConfig, identity.PRESETS, identity.build_identity, identity.export_identity, identity.WEIGHTS
    ),
    "expression": Recipe(
        expression.ExpressionConfig,
        expression.PRESETS,
        expression.build_expression,
        expression.export_expression,
        expression.WEIGHTS,
    ),
}

# Runs of earlier versions do not name their recipe: the first of these settings that they have identifies it.
_FORMER = {"labels": "quality", "margin": "identity", "folders": "expression", "generator": "legan"}


def recipe_of(run: Path) -> Recipe:
    """Return the recipe that a run folder was trained by.

    Raises:
        ConfigError: not a run folder, or one of another training.
    """
    if not (run / CONFIG).is_file():
        raise ConfigError(f"{run} is not a run folder: it has no {CONFIG}; name the folder given to `legan train ... --run`")
    settings = read_toml(run / CONFIG)
    former = next((name for key, name in _FORMER.items() if key in settings), None)
    name = settings.get("model", former)
    if name not in RECIPES:
        raise ConfigError(f"{run} is not a run of {', '.join(RECIPES)}: its {CONFIG} is of another training")
    return RECIPES[name]


def export_run(run: Path, out: Path, known_faults: Sequence[str] = ()) -> dict[str, Any]:
    """Write the weights of a run's newest checkpoint as float16 safetensors and return their metadata.

    Raises:
        ConfigError: `run` is not a run folder.
        WeightsError: it has no checkpoint yet, or none that can be read; or `out` does not end in .safetensors.
        LeganError: `out` cannot be written.
    """
    run, out = Path(run), Path(out)
    if out.suffix != ".safetensors":
        raise WeightsError(f"cannot export to {out}: give a name that ends in .safetensors")
    if str(run) == PACKAGED or run.is_file():
        raise ConfigError(
            f"{run} is exported already ({weights_file(run, 'editor')}): copy that file, or name a file that ends in .onnx with -o"
        )
    return recipe_of(run).export(run, out, known_faults)


def on_folders(config: Any, folders: Sequence[Path]) -> Any:
    """Return the config with `folders` as its `data.folders`, absolute; without any, as it is."""
    words = tuple(str(Path(folder).resolve()) for folder in folders)
    return replace(config, data=replace(config.data, folders=words)) if words else config


def _absolute(group: Any) -> Any:
    """A config, or a group of it, with absolute paths; `packaged` stays."""
    values = {field.name: getattr(group, field.name) for field in dataclasses.fields(group)}
    return replace(group, **{name: init_path(value) for name, value in values.items() if isinstance(value, Path)})
