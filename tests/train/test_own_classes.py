"""Data sets with classes of their own: trained by each model, exported, edited and evaluated by their names."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.face_sets import draw_face, png, row
from typer.testing import CliRunner

import legan
from legan.cli import app
from legan.core.conditions import STANDARD, Classes
from legan.core.errors import ConditionError, ConfigError, DataError, LeganError, WeightsError
from legan.core.weights import load_metadata, load_weights, save_weights
from legan.data.batches import DataConfig, FaceBatches, ReferenceBatches, face_dataset
from legan.data.manifest import split_of, write_manifest
from legan.train.legan import LeganConfig
from legan.train.recipes import RECIPES, export_run

EXPRESSIONS, LIGHTINGS = ("calm", "happy", "angry"), ("window=-60,10", "lamp=60,10")
CLASSES = Classes.parse(EXPRESSIONS, LIGHTINGS)
OWN = [f"data.expressions={json.dumps(EXPRESSIONS)}", f"data.lightings={json.dumps(LIGHTINGS)}"]
LOOP = ["loop.n_steps=4", "loop.sample_every=4", "loop.log_every=2", "data.batch_size=4"]
NETS = ["critic.width=4", "critic.max_width=8", "generator.width=4", "generator.n_residual=1", "generator.mask_channels=2"]
TINY = {
    "legan": [*NETS, "loss.quality=0", "loss.identity=0"],
    "stargan": ["critic.width=4", "generator.width=4", "generator.n_residual=1", "adversarial.n_critic=2"],
    "starganv2": ["network.width=4", "network.max_width=8", "network.n_hidden=8", "network.n_style=4"],
}


def make_own_set(folder: Path, n_identities: int = 9, size: int = 128) -> Path:
    """Drawn faces of three expressions, the second written as a synonym of another set's would be, under two lightings."""
    folder.mkdir(parents=True)
    rows = []
    for identity in range(n_identities):
        for e, expression in enumerate(("calm", "Happy", "angry")):
            for light, lighting in enumerate(("window", "lamp")):
                name = f"{identity}-{e}-{light}.png"
                (folder / name).write_bytes(png(draw_face(identity, 2 * e, (3, 11)[light], size)))
                split = split_of(identity)
                rows.append(row(f"p{identity}", expression, lighting, path=name, key="", split=split, domain="photo"))
    write_manifest(rows, folder)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_own_set(tmp_path_factory.mktemp("data") / "own")


@pytest.fixture(scope="module", params=TINY)
def weights(request: pytest.FixtureRequest, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of each model after four steps on the data."""
    folder = tmp_path_factory.mktemp(request.param)
    outcome = RECIPES[request.param].train("lite", [data], folder / "run", [*LOOP, *OWN, *TINY[request.param]])
    assert outcome is not None and str(outcome).startswith("finished 4 steps")
    with Image.open(folder / "run" / "samples" / "step_000004.png") as image:
        assert image.width == 128 * (1 + 3 + 1)  # the face, each expression under the first light, the other light
    export_run(folder / "run", folder / "own.safetensors")
    return folder / "own.safetensors"


def test_an_editor_is_asked_by_its_own_names(weights: Path) -> None:
    metadata = load_metadata(weights)
    assert metadata["expressions"] == ["calm", "happy", "angry"]
    assert metadata["lightings"] == ["window=-60,10", "lamp=60,10"]
    editor = legan.load_editor(weights)
    assert editor.networks.classes == CLASSES
    crops = torch.rand(2, 3, 128, 128)
    angry, happy = (editor(crops, expression=name, lighting="lamp") for name in ("angry", "Happy"))
    assert angry.shape == crops.shape and not torch.equal(angry, happy)
    codes = editor.networks.target_codes(crops, "angry:0.75,calm:0.25", 30)
    assert codes.expression[0].tolist() == [0.25, 0, 0.75]
    torch.testing.assert_close(
        codes.lighting[0], torch.tensor([0.25, 0.75])
    )  # 30 degrees: three quarters of the way from -60 to 60
    for wrong, message in (
        ({"expression": "smile"}, "unknown expression 'smile': choose from calm, happy, angry"),
        ({"expression": "angry:0.5"}, "there is no neutral for the rest"),
        ({"lighting": "left"}, "unknown lighting 'left': choose from window, lamp, or degrees"),
        ({"lighting": -75}, "azimuth -75 is out of range: give degrees from -60 .left. to 60"),
        ({"lighting": "-45 + 0.5*20"}, "a mixture of lamps is made for the 6 expressions and 20 lightings of legan"),
        ({"lighting": legan.LightSetup.parse("-45", ambient=0.5)}, "this editor knows the expressions calm, happy, angry and"),
    ):
        with pytest.raises(ConditionError, match=message):
            editor(crops, **{"expression": "calm", "lighting": "lamp", **wrong})


def test_the_commands_edit_by_own_names(weights: Path, photo: Path, known_faces: Callable[..., None], tmp_path: Path) -> None:
    known_faces((40, 30, 128))

    def edit(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["edit", str(photo), "--editor", str(weights), *words])
        return done.exit_code, done.output + str(done.exception or "")

    out, grid = tmp_path / "out.png", tmp_path / "grid.png"
    assert edit("--expression", "angry", "--lighting", "lamp", "-o", str(out))[0] == 0
    assert Image.open(out).size == Image.open(photo).size and out.read_bytes() != photo.read_bytes()
    assert edit("--grid", "-o", str(grid))[0] == 0
    assert Image.open(grid).size == (84 + 166 * 3 + 6, 12 + 26 + 166 * 3)  # two lights and the photo, three expressions
    for words in (["--lighting", "lamp", "--ambient", "0.2"], ["--light-like", str(photo)]):
        code, message = edit("--expression", "angry", *words)
        assert code != 0 and "a light of lamps" in message
    assert "choose from calm, happy, angry" in edit("--expression", "squint", "--lighting", "lamp")[1]


@pytest.mark.parametrize("weights", ["legan"], indirect=True)
def test_evaluation_counts_own_classes(weights: Path, data: Path, tmp_path: Path) -> None:
    report = legan.evaluate({"own": weights}, data, tmp_path / "out", split="train", n=16, n_resamples=0)
    (model,) = report["models"]
    assert model["n"] == 16 and np.isfinite(model["metrics"]["quality"]["value"])
    lines = (tmp_path / "out" / "images.csv").read_text().splitlines()[1:]
    columns = [line.split(",") for line in lines if line.startswith("own,")]
    assert {line[4] for line in columns} <= set(CLASSES.expressions) and {line[5] for line in columns} == {"window", "lamp"}
    with pytest.raises(ConfigError, match=r"knows the expressions calm.*evaluate them one by one"):
        legan.evaluate({"own": weights, "packaged": "packaged"}, data, tmp_path / "two", split="train", n=16)


def test_damaged_classes_are_refused(weights: Path, tmp_path: Path) -> None:
    tensors, metadata = load_weights(weights)
    out = tmp_path / "other.safetensors"
    for own, message in (
        ({"expressions": ["a", "b"]}, r"names 2 expressions, and its network knows 3|names 4 classes, and its network knows 5"),
        ({"expressions": "abc"}, "are not lists of names"),
        ({"lightings": ["a=1,2,3", "b"]}, "cannot read the lighting 'a=1,2,3'"),
        ({"lightings": [{"name": "a"}, "b"]}, "are not lists of names"),
    ):
        save_weights(out, tensors, metadata | own)
        with pytest.raises(WeightsError, match=message):
            legan.load_editor(out)


def test_what_needs_the_six_and_the_twenty_says_so(weights: Path, tmp_path: Path) -> None:
    from legan.editing.demo import make_demo

    with pytest.raises(ConditionError, match="the demo page is made for the 6 expressions"):
        make_demo(tmp_path / "demo", weights)


def config(data: Path, *settings: str, preset: str = "lite") -> LeganConfig:
    return RECIPES["legan"].configure(preset, [data], Path("unused"), [*TINY["legan"], *settings])


def test_networks_take_their_sizes_from_the_declared_classes(data: Path) -> None:
    made = config(data, *OWN)
    assert (made.generator.n_expressions, made.critic.n_lightings) == (3, 2) and made.data.classes == CLASSES
    assert config(data).generator.n_expressions == 6 and config(data).data.classes == STANDARD
    cpu = torch.device("cpu")
    with pytest.raises(ConfigError, match=r"generator.n_expressions and generator.n_lightings must be 3 and 2"):
        RECIPES["legan"].build(config(data, *OWN, "generator.n_expressions=4"), cpu)
    with pytest.raises(ConfigError, match=r"the preset fields learns from mixtures of the twenty lightings"):
        RECIPES["legan"].build(config(data, *OWN, "loss.perceptual=0", preset="fields"), cpu)
    with pytest.raises(DataError, match=r"unknown expression 'angry' in the data.*--set 'data.expressions=\[...\]'"):
        RECIPES["legan"].build(config(data), cpu)
    with pytest.raises(DataError, match="unknown expression 'Happy' in the data: choose from calm, angry"):
        RECIPES["legan"].build(config(data, 'data.expressions=["calm", "angry"]', OWN[1]), cpu)


def test_fine_tuning_takes_the_classes_of_the_weights(data: Path, tmp_path: Path) -> None:
    RECIPES["legan"].train("lite", [data], tmp_path / "run", [*LOOP, *OWN, *TINY["legan"]])
    export_run(tmp_path / "run", own := tmp_path / "own.safetensors")
    settings = [*LOOP, *TINY["legan"]]
    RECIPES["legan"].train("lite", [data], tmp_path / "tuned", settings, init=own)
    export_run(tmp_path / "tuned", tmp_path / "tuned.safetensors")
    assert load_metadata(tmp_path / "tuned.safetensors")["expressions"] == ["calm", "happy", "angry"]
    RECIPES["legan"].train("lite", [data], tmp_path / "tuned", [*settings, "loop.n_steps=5"], init=own)  # and continues
    swapped = ['data.expressions=["happy", "calm", "angry"]', OWN[1]]
    with pytest.raises(ConfigError, match=r"knows the expressions calm, happy, angry.*leave init out"):
        RECIPES["legan"].train("lite", [data], tmp_path / "other", [*settings, *swapped], init=own)


def test_flips_swap_lights_only_where_directions_are_declared(data: Path) -> None:
    settings = DataConfig((str(data),), EXPRESSIONS, LIGHTINGS, batch_size=32, pair_probability=0.0)
    faces = face_dataset(settings, "train", 128)
    assert faces.classes == CLASSES and set(faces.expression) == {0, 1, 2} and set(faces.lighting) == {0, 1}
    batches = FaceBatches(faces, settings, 0)
    draw, batch = batches.draw(0, 32), batches(0, 0, 1)
    own = faces.lighting[draw.source]
    assert batch["lighting_src"].argmax(1).tolist() == np.where(draw.flipped, 1 - own, own).tolist() and draw.flipped.any()
    assert batch["expression_trg"].shape == (32, 3) and set(batch["expression_trg"].argmax(1).tolist()) == {0, 1, 2}
    references = ReferenceBatches(batches)(0, 0, 1)
    assert references["x_ref"].shape == (32, 3, 128, 128) and references["lighting_trg"].shape == (32, 2)

    names = DataConfig((str(data),), EXPRESSIONS, ("window", "lamp"), batch_size=32)
    with pytest.raises(ConfigError, match=r"not declared where the light 'window' comes from.*data.flip=false"):
        FaceBatches(faces, names, 0)
    still = FaceBatches(faces, DataConfig((str(data),), EXPRESSIONS, ("window", "lamp"), flip=False), 0)
    assert not still.draw(0, 32).flipped.any()


def test_own_lights_without_directions_have_no_angles() -> None:
    classes = Classes.parse([], ["window", "lamp"])
    assert classes.expressions == STANDARD.expressions and classes.lighting_code("lamp").tolist() == [0, 1]
    for spec in (-45, "-45", (-45, 20)):
        with pytest.raises(ConditionError, match="no directions are declared for window, lamp"):
            classes.lighting_code(spec)
    with pytest.raises(ConditionError, match="unknown lighting 'lamb': choose from window, lamp; did you mean 'lamp'"):
        classes.lighting_code("lamb")


def test_classes_are_read_from_words() -> None:
    classes = Classes.parse(["Calm", " angry"], ["room", "left=-45.5,20", "right=45.5,20", "03", "top=0,80"])
    assert classes.expressions == ("calm", "angry") and classes.lighting_names == ("room", "left", "right", "03", "top")
    assert classes.lightings[3] == STANDARD.lightings[3] and classes.lightings[0].azimuth is None
    assert Classes.parse(**classes.as_words()) == classes and STANDARD.as_words() == {} and Classes.parse([], []) == STANDARD
    np.testing.assert_allclose(classes.lighting_code((0, 20)), [0, 0.5, 0.5, 0, 0])
    np.testing.assert_allclose(classes.lighting_code((0, 50)), [0, 0.25, 0.25, 0, 0.5])
    for expressions, lightings, message in (
        (["a b"], [], "cannot use the expression name 'a b'"),
        (["a:1"], [], "cannot use the expression name"),
        (["a", "A"], [], "'a' is declared twice"),
        ([], ["a=x"], "cannot read the lighting 'a=x'"),
        ([], ["a=nan,1"], "cannot read the lighting"),
        ([], ["a=200,1"], "azimuth -180 to 180"),
        ([], ["a=1,1", "b=1,1"], "have the same direction"),
        ([], ["+45"], "cannot use the lighting name"),
    ):
        with pytest.raises(ConfigError, match=message):
            Classes.parse(expressions, lightings)


def test_images_by_expression_and_light_are_imported(tmp_path: Path) -> None:
    from legan.data.public.folder import read_conditions

    for name in ("calm/lamp/anna.jpg", "Angry/window/ben/1.jpg"):
        (tmp_path / name).parent.mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    found = [(i.identity, i.expression, i.lighting) for i in read_conditions(tmp_path)]
    assert found == [("ben", "Angry", "window"), ("anna", "calm", "lamp")]
    Image.new("RGB", (4, 4)).save(tmp_path / "calm" / "x.jpg")
    with pytest.raises(LeganError, match=r"lay images out as <expression>/<lighting>/<person>.jpg"):
        read_conditions(tmp_path)
