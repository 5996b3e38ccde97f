"""Forms of an extractor: halves, integers and mixtures, and the clips that they are tried on."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge.clip_gate import cosines
from edge.clips import ClipSpec
from edge.openvino_runtime import MARK, openvino_here
from edge.runtimes import OnnxRuntime
from export.clip_making import CLIP_TOLERANCE, ClipMaker
from export.disturb import light_gain, noise
from export.gate import Gate, as_written
from export.halves import halved
from export.held_out_clips import Clips, clips_of, disturbed
from export.layers import Layer
from export.making import Order
from export.measured_ranges import Ranges
from export.mixtures import fastest
from export.parity import truth_of
from export.tensorrt_rules import UnfitError, broken_rules, must_suit_tensorrt
from tests.builders import folder_of
from tests.clips import FPS, SMALL, picture, pictures
from tests.extractors import FRAMES, model, network, opened

SEES = ("frame", "clip")


def shape(sees: str) -> tuple[int, ...]:
    return (1, 3, 32, 32) if sees == "frame" else (1, 3, FRAMES, 32, 32)


def inputs(sees: str, count: int = 6) -> list[np.ndarray]:  # type: ignore[type-arg]
    return list(np.random.default_rng(3).random((count, *shape(sees)), np.float32))


def cosine(data: bytes, truth: bytes, sees: str) -> float:
    asked = inputs(sees)
    ours, theirs = (np.concatenate([as_written(one)(given) for given in asked]) for one in (data, truth))
    return float(cosines(ours, theirs).min())


# Halves


@pytest.mark.parametrize("sees", SEES)
def test_a_halved_extractor_takes_and_gives_float_and_says_nearly_the_same(sees: str) -> None:
    data, truth = halved(network(sees)), network(sees)
    graph = onnx.load_from_string(data).graph
    assert {tensor.data_type for tensor in graph.initializer} == {TensorProto.FLOAT16}
    ends = (graph.input[0], graph.output[0])
    assert {end.type.tensor_type.elem_type for end in ends} == {TensorProto.FLOAT}
    assert len(data) < 0.6 * len(truth)
    assert cosine(data, truth, sees) > 0.9999


def test_what_is_beyond_the_range_of_a_half_becomes_its_end() -> None:
    large = numpy_helper.from_array(np.full((1, 3, 1, 1), 1e6, np.float32), "large")
    nodes = [helper.make_node("Mul", ["pictures", "large"], ["product"])]
    made = onnx.load_from_string(halved(model(nodes, [1, 3, 2, 2], [1, 3, 2, 2], [large])))
    assert numpy_helper.to_array(made.graph.initializer[0]).max() == np.finfo(np.float16).max


def test_the_sizes_of_a_resizing_stay_in_float() -> None:
    scales = numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales")
    nodes = [helper.make_node("Resize", ["pictures", "", "scales"], ["larger"])]
    made = halved(model(nodes, [1, 3, 2, 2], [1, 3, 4, 4], [scales]))
    assert as_written(made)(np.ones((1, 3, 2, 2), np.float32)).shape == (1, 3, 4, 4)


def test_an_extractor_with_branches_is_not_halved() -> None:
    def branch(name: str) -> onnx.GraphProto:
        value = helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3])
        constant = helper.make_node("Constant", [], [name], value_floats=[1.0, 2.0, 3.0])
        return helper.make_graph([constant], name, [], [value])

    yes = numpy_helper.from_array(np.array(True), "yes")
    node = helper.make_node("If", ["yes"], ["found"], then_branch=branch("a"), else_branch=branch("b"))
    graph = helper.make_graph(
        [node],
        "if",
        [helper.make_tensor_value_info("pictures", TensorProto.FLOAT, [1, 3])],
        [helper.make_tensor_value_info("found", TensorProto.FLOAT, None)],
        [yes],
    )
    with pytest.raises(UnfitError, match="branches or loops"):
        halved(helper.make_model(graph).SerializeToString())


# Integers


@pytest.mark.parametrize("sees", SEES)
def test_ranges_measured_once_give_files_for_both_readers(sees: str) -> None:
    ranges, truth = Ranges(network(sees), inputs(sees)), network(sees)
    for_trt = ranges.for_tensorrt(())
    must_suit_tensorrt(for_trt)
    assert cosine(for_trt, truth, sees) > 0.99
    for_cpu = ranges.for_processor(())
    assert cosine(for_cpu, truth, sees) > 0.99
    assert list(broken_rules(onnx.load_from_string(for_cpu)))  # unsigned: the other file


def test_a_layer_in_float_and_what_follows_it_is_not_rounded() -> None:
    ranges = Ranges(network(), inputs("frame"))
    first = ranges.model.graph.node[0].name
    graph = onnx.load_from_string(ranges.for_processor([first])).graph
    rounded = {node.input[0] for node in graph.node if node.op_type == "QuantizeLinear"}
    assert "c1" not in rounded
    makers = {node.name: node for node in graph.node}
    assert makers[first].input[0] == "pictures"


def test_an_older_operator_set_is_raised_for_integers() -> None:
    old = onnx.load_from_string(network(opset=11))
    assert old.opset_import[0].version == 11
    made = Ranges(old.SerializeToString(), inputs("frame"))
    must_suit_tensorrt(made.for_tensorrt(()))


# Mixtures

LAYERS = [Layer(name, "Conv", cost) for name, cost in (("a", 1.0), ("b", 4.0), ("c", 1.0), ("d", 2.0))]
HARM = {"a": 0.02, "b": 0.006, "c": 0.001, "d": 0.004}


def mixed(enough: Collection[str]) -> tuple[frozenset[str] | None, list[frozenset[str]]]:
    """What is found, and all that was tried, if a mixture passes that leaves these in float."""
    tried: list[frozenset[str]] = []

    def passes(data: bytes) -> bool:
        tried.append(frozenset(data.decode().split()))
        return set(enough) <= tried[-1]

    found = fastest(LAYERS, lambda left: " ".join(sorted(left)).encode(), lambda: HARM, 0.01, passes)
    return None if found is None else found[0], tried


def test_where_all_integers_pass_no_layer_is_ranked() -> None:
    found = fastest(LAYERS, lambda left: b"", lambda: pytest.fail("ranked"), 0.01, lambda data: True)
    assert found == (frozenset(), b"")


def test_the_layers_that_harm_most_go_back_to_float_until_the_rest_fits() -> None:
    assert mixed(["a"]) == (frozenset("ab"), [frozenset(), frozenset("ab")])


def test_where_the_gate_says_no_more_go_back_and_nothing_is_tried_twice() -> None:
    found, tried = mixed(["d"])
    assert found == frozenset("abd")
    assert tried == [frozenset(), frozenset("ab"), frozenset("abd")]


def test_where_nothing_passes_there_is_no_mixture() -> None:
    found, tried = mixed(["z"])
    assert found is None
    assert frozenset("abcd") not in tried  # nothing would be in integers


# Clips


def test_clips_of_footage_do_not_overlap_and_are_of_the_models_size(tmp_path: Path) -> None:
    folders = [folder_of(tmp_path / name, pictures("." * 11, 100 * seed)) for seed, name in enumerate("ab")]
    _, extractor = opened(tmp_path)
    found = clips_of(folders, 10, extractor.spec, SMALL, FPS)
    assert [len(clip) for clip in found] == [FRAMES] * 4
    assert {one.shape for clip in found for one in clip} == {(32, 32, 3)}
    assert len({one.tobytes() for clip in found for one in clip}) == 4 * FRAMES
    assert len(clips_of(folders, 3, extractor.spec, SMALL, FPS)) == 3


def test_a_clip_is_disturbed_as_a_whole_but_grain_is_new_in_each_picture() -> None:
    clip = [picture(0)] * 3
    lit = disturbed(clip, light_gain, (0, 1))
    assert np.array_equal(lit[0], lit[2])
    assert not np.array_equal(lit[0], clip[0])
    grainy = disturbed(clip, noise, (0, 1))
    assert not np.array_equal(grainy[0], grainy[1])
    again = disturbed(clip, noise, (0, 1))
    assert all(np.array_equal(a, b) for a, b in zip(grainy, again, strict=True))


def held_out(tmp_path: Path, sees: str, count: int = 4) -> tuple[Clips, bytes]:
    """Clips, read by a head that looks at one number, and the extractor."""
    _, extractor = opened(tmp_path, sees)
    clips = tuple(pictures("....", 10 * n) if n % 2 else pictures("XX..", 10 * n) for n in range(count))
    spec = ClipSpec(extractor=extractor.spec, normalise="none")
    return Clips(clips, spec, SMALL, lambda window: window[:, -1, :1] * 10), extractor.model


@pytest.mark.parametrize("sees", SEES)
def test_an_extractor_is_asked_what_flight_would_ask_of_it(tmp_path: Path, sees: str) -> None:
    clips, _ = held_out(tmp_path, sees)
    asked = list(clips.tensors())
    assert {one.shape for one in asked} == {shape(sees)}
    assert len(asked) == 7 * 4 * (FRAMES if sees == "frame" else 1)


def maker(
    tmp_path: Path, sees: str, variants: Sequence[str], insisted: bool = False, data: bytes | None = None
) -> tuple[ClipMaker, list[str]]:
    clips, extractor = held_out(tmp_path, sees)
    data = data or extractor
    with OnnxRuntime(data, "x") as runtime:
        truth = truth_of(clips.ask(runtime), clips.undisturbed)
    said: list[str] = []
    gate = Gate(clips, truth, CLIP_TOLERANCE)
    return ClipMaker(data, gate, lambda: clips, Order(tuple(variants), insisted), said.append), said


@pytest.mark.parametrize("sees", SEES)
def test_every_variant_of_a_convolutional_extractor_passes_the_gate(tmp_path: Path, sees: str) -> None:
    made, said = maker(tmp_path, sees, ("fp32", "fp16", "int8-cpu", "int8-trt"))
    models, parity = made.make()
    assert said == []
    assert models["fp32"].data == made.extractor
    assert parity["fp32"].max_drift == 0
    assert {name: found.within_tolerance for name, found in parity.items()} == dict.fromkeys(parity, True)
    assert set(parity) - set(models) == ({f"int8-cpu{MARK}"} if openvino_here() else set())
    assert all(found.feature_cosine is not None for found in parity.values())


def flat() -> bytes:
    """An extractor without any weights."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["pictures"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["embedding"]),
    ]
    return model(nodes, [1, 3, 32, 32], [1, 3], [])


def test_a_variant_that_cannot_be_made_is_left_out_and_said_unless_it_was_named(tmp_path: Path) -> None:
    made, said = maker(tmp_path, "frame", ("fp32", "int8-cpu"), data=flat())
    models, _ = made.make()
    assert list(models) == ["fp32"]
    assert said == ["int8-cpu is left out: the extractor has no layer to make of integers"]
    insisted, _ = maker(tmp_path, "frame", ("fp32", "int8-cpu"), insisted=True, data=flat())
    with pytest.raises(UnfitError, match="no layer to make of integers"):
        insisted.make()
