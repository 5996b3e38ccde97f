"""Whatever makes features becomes an extractor that flies: S3D's weights, an autoencoder, anybody's ONNX."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from edge.errors import SkerryError
from edge.preprocess import InputSpec, to_tensor
from edge.runtimes import OnnxRuntime
from export.extractor_graph import ExtractorError, noted, parsed
from export.extractors import PIXELS, Asked, open_extractor
from tests.clips import FOLDER, picture
from tests.extractors import HISTORY, mil_checkpoint, splits
from tests.networks import SMALL as SMALL_CAE
from tests.networks import lively
from tests.scouting import RECIPE as SCOUT_RECIPE
from tests.test_s3d import layer, state_dict
from train.cae import CAE
from train.checkpoint import Checkpoint, Record, save_checkpoint, versions
from train.recipes import Recipe, ScoutRecipe
from train.scout import Scout

PATCHES = FOLDER / "patches.onnx"
SMALL = Asked(frames=14, size=32)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("s3d") / "weights.pth"
    torch.save(state_dict(), path)
    return path


def saved(path: Path, network: CAE | Scout, recipe: Recipe | ScoutRecipe) -> Path:
    """A checkpoint as training would leave it, without the training."""
    record = Record(
        kind="scout" if isinstance(network, Scout) else "cae",
        recipe=recipe,
        input=InputSpec(),
        splits=splits(()),
        history=(HISTORY,),
        versions=versions(),
    )
    optimiser = torch.optim.Adam(network.parameters()).state_dict()
    state = torch.Generator().get_state()
    save_checkpoint(path, Checkpoint(record, network.state_dict(), None, optimiser, state))
    return path


def model(
    path: Path, shape: Sequence[int | str], nodes: Sequence[onnx.NodeProto], outputs: Sequence[str]
) -> Path:
    """Takes `pictures`; the shapes of its outputs are left open."""
    taken = helper.make_tensor_value_info("pictures", TensorProto.FLOAT, shape)
    given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    graph = helper.make_graph(list(nodes), "anybody", [taken], given)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def flatten(source: str = "pictures", output: str = "rows") -> onnx.NodeProto:
    return helper.make_node("Flatten", [source], [output])


@pytest.mark.slow
def test_s3d_in_flight_answers_as_the_independent_formulation(weights: Path, tmp_path: Path) -> None:
    extractor = open_extractor(None, weights, SMALL)
    spec = extractor.spec
    assert (spec.sees, spec.frames, spec.stride, spec.fps, spec.width) == ("clip", 14, 14, 15.0, 1024)
    assert extractor.picture == PIXELS["kinetics"].model_copy(update={"height": 32, "width": 32})
    clip = np.random.default_rng(0).normal(size=(1, 3, 14, 32, 32)).astype(np.float32)
    expected = clip[0].astype(np.float64)
    for place in range(16):
        expected = layer(place, expected, state_dict())
    wanted = expected.mean(axis=(1, 2, 3))
    found = np.asarray(extractor.extract(clip))
    assert found.shape == (1, 1024)
    assert np.abs(found[0] - wanted).max() < 1e-5 * np.abs(wanted).max()
    (tmp_path / "again.onnx").write_bytes(extractor.model)
    for again in (open_extractor(tmp_path / "again.onnx"), open_extractor("s3d", weights, SMALL)):
        assert (again.spec, again.picture, again.model) == (spec, extractor.picture, extractor.model)


def test_kinetics_pixels_are_those_that_torchvision_documents() -> None:
    grey = to_tensor(np.full((64, 64, 3), 128, np.uint8), PIXELS["kinetics"].model_copy())
    wanted = [(128 / 255 - m) / s for m, s in ((0.43216, 0.22803), (0.394666, 0.22145), (0.37645, 0.216989))]
    assert grey[0, :, 0, 0] == pytest.approx(wanted, rel=1e-5)


def test_pixels_from_minus_one_to_one_are() -> None:
    black, white = (np.full((16, 16, 3), level, np.uint8) for level in (0, 255))
    assert to_tensor(black, PIXELS["-1..1"]).min() == -1
    assert to_tensor(white, PIXELS["-1..1"]).max() == pytest.approx(1)


@pytest.mark.slow
def test_an_autoencoder_gives_what_is_in_its_middle(tmp_path: Path) -> None:
    network = lively()
    path = saved(tmp_path / "cae.ckpt", network, Recipe(model=SMALL_CAE))
    extractor = open_extractor(path)
    assert (extractor.spec.sees, extractor.spec.width) == ("frame", 2 * SMALL_CAE.latent)
    assert (extractor.picture.height, extractor.picture.width) == (124, 124)
    tensor = to_tensor(picture(3), extractor.picture)
    with torch.inference_mode():
        wanted = network.bottleneck[1](network.encoder(torch.from_numpy(tensor)).flatten(1)).numpy()
    assert np.asarray(extractor.extract(tensor)) == pytest.approx(wanted, rel=1e-3, abs=1e-4)
    assert open_extractor(path).spec == extractor.spec


def test_a_checkpoint_that_makes_no_features_of_pictures_is_one_sentence(tmp_path: Path) -> None:
    scout = saved(tmp_path / "scout.ckpt", Scout(SCOUT_RECIPE.model), SCOUT_RECIPE)
    head = mil_checkpoint(tmp_path / "mil.ckpt", open_extractor(PATCHES).spec)
    for path, kind in ((scout, "scout"), (head, "mil")):
        with pytest.raises(
            ExtractorError, match=f"holds a {kind}, which makes no features of single pictures;"
        ):
            open_extractor(path)
    with pytest.raises(ExtractorError, match=r"scout.ckpt says itself which output and pixels it has; leave"):
        open_extractor(scout, asked=Asked(pixels="0..1"))


def test_sizes_and_batches_left_open_are_settled(tmp_path: Path) -> None:
    nodes = [helper.make_node("AveragePool", ["pictures"], ["pool"], kernel_shape=[8, 8], strides=[8, 8])]
    path = model(tmp_path / "open.onnx", ["n", 3, "h", "w"], [*nodes, flatten("pool")], ["rows"])
    extractor = open_extractor(path, asked=Asked(size=16, pooling="mean"))
    assert extractor.spec.width == 3 * 2 * 2
    assert (extractor.picture.height, extractor.picture.width) == (16, 16)
    assert open_extractor(path).spec.width == 2 * 3 * 28 * 28  # 224, mean-change


def test_maps_are_averaged_over_their_places(tmp_path: Path) -> None:
    path = model(
        tmp_path / "maps.onnx", [1, 3, 16, 16], [helper.make_node("Relu", ["pictures"], ["maps"])], ["maps"]
    )
    extractor = open_extractor(path, asked=Asked(pooling="mean", pixels="0..1"))
    tensor = np.random.default_rng(1).random((1, 3, 16, 16), np.float32)
    assert np.asarray(extractor.extract(tensor)) == pytest.approx(tensor.mean(axis=(2, 3)), rel=1e-5)


def test_of_several_outputs_the_one_asked_for_is_kept_and_the_rest_goes(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("GlobalAveragePool", ["pictures"], ["embedding"]),
        helper.make_node("Relu", ["pictures"], ["maps"]),
    ]
    path = model(tmp_path / "two.onnx", [1, 3, 16, 16], nodes, ["maps", "embedding"])
    chosen = open_extractor(path)
    assert parsed(chosen.model, "two").graph.node[0].op_type == "GlobalAveragePool"
    asked = open_extractor(path, asked=Asked(output="maps"))
    assert parsed(asked.model, "two").graph.node[0].op_type == "Relu"
    with pytest.raises(ExtractorError, match=r"two.onnx has no output 'map'; it has maps, embedding"):
        open_extractor(path, asked=Asked(output="map"))


def test_what_was_made_to_fly_is_taken_as_it_is(tmp_path: Path) -> None:
    first = open_extractor(PATCHES, asked=Asked(pixels="imagenet"))
    (tmp_path / "flies.onnx").write_bytes(first.model)
    again = open_extractor(tmp_path / "flies.onnx")
    assert (again.model, again.spec, again.picture) == (first.model, first.spec, first.picture)
    assert again.picture.mean == PIXELS["imagenet"].mean
    with pytest.raises(ExtractorError, match=r"flies.onnx says itself which output and pixels it has; leave"):
        open_extractor(tmp_path / "flies.onnx", asked=Asked(pixels="0..1"))


def test_what_is_written_about_pixels_is_what_pictures_need_and_no_more() -> None:
    """A new field of inputs must not make every extractor another one."""
    flying = parsed(open_extractor(PATCHES, asked=Asked(pixels="imagenet")).model, "patches")
    (written,) = (entry.value for entry in flying.metadata_props if entry.key == "skerry.input")
    assert set(json.loads(written)) == {"height", "width", "colour", "scale", "mean", "std", "resize"}


def test_a_note_about_pixels_on_a_graph_that_does_not_fly_is_one_sentence(tmp_path: Path) -> None:
    path = model(tmp_path / "open.onnx", ["n", 3, "h", "w"], [flatten()], ["rows"])
    changed = onnx.load(path)
    helper.set_model_props(changed, {"skerry.input": InputSpec().model_dump_json()})
    onnx.save(changed, path)
    assert noted(changed) is not None
    with pytest.raises(
        ExtractorError, match=r"open.onnx does not take one picture or clip at a time; give the"
    ):
        open_extractor(path)


@pytest.mark.parametrize(
    ("shape", "outputs", "sentence"),
    [
        ([1, 3, 16], ["rows"], "takes 1 x 3 x 16; pictures are n x 3 x height x width, clips"),
        ([1, 4, 16, 16], ["rows"], "takes 1 x 4 x 16 x 16; pictures are"),
        ([8, 3, 16, 16], ["rows"], "takes 8 at once; export it with a batch of 1, or open"),
        ([1, 3, 16, 16], ["one", "two"], "has 2 outputs: say which by --output, one, two"),
    ],
)
def test_graphs_that_are_no_extractor_are_one_sentence(
    tmp_path: Path, shape: list[int], outputs: list[str], sentence: str
) -> None:
    nodes = [flatten(output=output) for output in outputs]
    with pytest.raises(ExtractorError, match=sentence) as caught:
        open_extractor(model(tmp_path / "a.onnx", shape, nodes, outputs))
    assert "\n" not in str(caught.value)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    content = bytearray(PATCHES.read_bytes())
    place = st.integers(0, len(content) - 1)
    for changed, value in draw(st.lists(st.tuples(place, st.integers(0, 255)), max_size=6)):
        content[changed] = value
    return bytes(content[: draw(place)] if draw(st.booleans()) else content)


def test_damaged_models_end_in_one_sentence_or_in_an_extractor(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"

    @settings(max_examples=60, deadline=None)
    @given(damaged())
    def is_understood(content: bytes) -> None:
        path.write_bytes(content)
        try:
            assert open_extractor(path).spec.width > 0
        except SkerryError as error:
            assert "\n" not in str(error)  # noqa: PT017 - either is right

    is_understood()


def test_the_runtime_is_that_of_flight() -> None:
    assert isinstance(open_extractor(PATCHES).extract, OnnxRuntime)
