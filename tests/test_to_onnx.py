import logging
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from edge.preprocess import InputSpec
from edge.runtimes import OnnxRuntime
from export.families import flying
from export.to_onnx import quietly, to_onnx
from tests.networks import enlivened, lively, pairs, pictures, pointing
from train.cae import CaeConfig
from train.scout import Scout, ScoutConfig

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model() -> bytes:
    return to_onnx(lively(), InputSpec(), "restored")


def test_the_model_answers_as_the_network_does(model: bytes) -> None:
    batch = pictures(4)
    with torch.inference_mode():
        wanted = lively()(batch).numpy()
    assert wanted.std(axis=0).max() > 0.01  # else agreeing would say nothing
    with OnnxRuntime(model, "model") as runtime:
        answers = np.concatenate([runtime(picture[None].numpy()) for picture in batch])
    assert np.abs(answers - wanted).max() < 1e-5


def test_the_model_is_one_file_and_writes_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = to_onnx(lively(), InputSpec(), "restored")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "model.onnx").write_bytes(data)
    loaded = onnx.load(tmp_path / "model.onnx", load_external_data=False)
    assert all(part.data_location == onnx.TensorProto.DEFAULT for part in loaded.graph.initializer)
    assert not any(part.external_data for part in loaded.graph.initializer)


def test_the_opset_is_18_and_nothing_but_standard_operators(model: bytes) -> None:
    loaded = onnx.load_from_string(model)
    assert [(opset.domain, opset.version) for opset in loaded.opset_import] == [("", 18)]
    assert not loaded.functions


def test_it_takes_and_gives_one_picture_of_fixed_size(model: bytes) -> None:
    graph = onnx.load_from_string(model).graph
    for ends in (graph.input, graph.output):
        (end,) = ends
        assert [size.dim_value for size in end.type.tensor_type.shape.dim] == [1, 3, 124, 124]
        assert end.type.tensor_type.elem_type == onnx.TensorProto.FLOAT


def test_the_operators_stand_in_the_published_order(model: bytes) -> None:
    down, up = ["Conv", "MaxPool", "Relu"], ["ConvTranspose", "Relu", "BatchNormalization"]
    wanted = [*down * 3, "Reshape", "Gemm", "Gemm", "Reshape", *up * 3, "Sigmoid"]
    assert [node.op_type for node in onnx.load_from_string(model).graph.node] == wanted


def test_a_plain_sigmoid_tail_is_exported_as_it_is() -> None:
    data = to_onnx(lively(CaeConfig(channels=(3, 4, 5), latent=6, tail="sigmoid")), InputSpec(), "restored")
    assert [node.op_type for node in onnx.load_from_string(data).graph.node][-2:] == [
        "ConvTranspose",
        "Sigmoid",
    ]


def test_the_file_does_not_say_where_it_was_made(model: bytes) -> None:
    for trace in (b"site-packages", b".py", str(Path(__file__).parents[1]).encode(), b"stack_trace"):
        assert trace not in model


def test_the_same_network_gives_the_same_bytes(model: bytes) -> None:
    assert to_onnx(lively(), InputSpec(), "restored") == model


def test_a_converters_warnings_are_silenced_and_its_errors_are_not(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        with quietly():
            warnings.warn("chatter", stacklevel=1)
            logger.warning("chatter")
            logging.getLogger().warning("chatter")
            logger.error("broken")
    assert shown == []
    assert "chatter" not in caplog.text
    assert "broken" in caplog.text
    assert logger.level == before


def test_a_network_of_two_pictures_takes_six_channels_and_gives_its_evidence_without_batchnorm() -> None:
    data = to_onnx(pointing(), InputSpec(frames=2, height=64, width=96, tiling="auto"), "evidence")
    graph = onnx.load_from_string(data).graph
    shapes = [
        [size.dim_value for size in end.type.tensor_type.shape.dim] for end in (*graph.input, *graph.output)
    ]
    assert shapes == [[1, 6, 64, 96], [1, 68, 8, 12]]
    assert [end.name for end in (*graph.input, *graph.output)] == ["pictures", "evidence"]
    assert {node.op_type for node in graph.node} == {"Conv", "Relu", "Concat"}
    batch = pairs(1)
    with torch.inference_mode():
        wanted = pointing()(batch).numpy()
    with OnnxRuntime(data, "model") as runtime:
        answer = runtime(batch.numpy())
    assert wanted.std(axis=(2, 3)).max() > 0.01
    assert np.abs(answer - wanted).max() < 1e-4


def test_a_scout_flies_without_its_painter_and_its_model_answers_as_it_does() -> None:
    scout = enlivened(Scout(ScoutConfig(stem=8, channels=(8, 64, 16))))
    network = flying(scout)
    data = to_onnx(network, InputSpec(frames=2, height=64, width=96, tiling="auto"), "evidence")
    graph = onnx.load_from_string(data).graph
    assert "BatchNormalization" not in {node.op_type for node in graph.node}
    assert not [part.name for part in graph.initializer if "painter" in part.name]
    batch = pairs(1)
    with torch.inference_mode():
        wanted = network(batch).numpy()
    with OnnxRuntime(data, "model") as runtime:
        answer = runtime(batch.numpy())
    assert answer.shape == (1, 4 + scout.config.channels[0], 8, 12)
    assert np.abs(answer - wanted).max() < 1e-4 * np.abs(wanted).max()
