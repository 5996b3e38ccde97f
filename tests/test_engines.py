"""The cache of engines, and building into it, on a simulated GPU."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge import engine_build
from edge.bundle import ModelBundle
from edge.engine_build import Made, Order, make_engine
from edge.engine_gate import Tolerance, gate, pictures
from edge.engines import FAILED_LOG, EngineKey, EngineRecord, EngineStore
from edge.errors import BundleError
from edge.gpu import EngineError, GpuError
from edge.runtimes import OnnxRuntime
from edge.simgpu import TENSORRTS, SimGpu, simulated
from edge.tensorrt_builder import BuildOptions
from tests.builders import bundle_at
from tests.engines import blur_of, gpu_bundle_at, gpu_pairs_at

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def bundle(tmp_path: Path) -> ModelBundle:
    return gpu_bundle_at(tmp_path / "bundle")


@pytest.fixture
def store(tmp_path: Path) -> EngineStore:
    return EngineStore(tmp_path / "engines")


def made(
    bundle: ModelBundle, store: EngineStore, gpu: SimGpu | None = None, order: Order | None = None
) -> Made:
    return make_engine(bundle, order or Order(), store, simulated(gpu=gpu))


def names(store: EngineStore) -> list[str]:
    return sorted(path.name for path in store.folder.iterdir())


@pytest.mark.parametrize("version", TENSORRTS)
def test_an_engine_is_built_gated_and_kept_with_all_it_depends_on(
    version: str, bundle: ModelBundle, store: EngineStore
) -> None:
    found = make_engine(bundle, Order(), store, simulated(version))
    key = found.record.key
    assert found.new
    assert store.records() == [found.record]
    assert key.onnx == bundle.manifest.files["model.fp16.onnx"]
    assert (key.tensorrt, key.compute, key.multiprocessors, key.module) == (version, "8.7", 8, "Orin")
    assert (key.precision, key.shape, key.flags) == ("fp16", (1, 3, 124, 124), ("STRONGLY_TYPED",))
    assert found.record.gate.max_drift == 0
    assert store.engine(found.record).startswith(b"simulated TensorRT engine")
    stem = found.record.stem
    assert {f"{stem}.json", f"{stem}.engine", f"{stem}.log"} < set(names(store))
    assert "Engine generation completed" in (store.folder / f"{stem}.log").read_text()


def test_what_fits_is_not_built_again_unless_asked(bundle: ModelBundle, store: EngineStore) -> None:
    gpu = SimGpu()
    first = made(bundle, store, gpu)
    assert made(bundle, store, gpu) == Made(first.record, new=False)
    assert gpu.record.count("build_serialized_network") == 1
    again = made(bundle, store, gpu, Order(again=True))
    assert (again.new, again.record.number) == (True, 2)


def test_the_next_build_on_a_device_starts_with_its_timing_cache(
    bundle: ModelBundle, store: EngineStore
) -> None:
    gpu = SimGpu()
    made(bundle, store, gpu)
    made(bundle, store, gpu, Order(precision="int8"))
    assert [line for line in gpu.record if line.startswith("timing")] == [
        "timing cache new",
        "timing cache kept",
    ]


@pytest.mark.parametrize(
    "other",
    [
        SimGpu(module="AGX Orin"),
        SimGpu(compute=(11, 0)),
        SimGpu(multiprocessors=16),
    ],
    ids=["module", "compute", "multiprocessors"],
)
def test_another_device_gets_an_engine_of_its_own(
    other: SimGpu, bundle: ModelBundle, store: EngineStore
) -> None:
    first, second = made(bundle, store), made(bundle, store, other)
    assert second.new
    assert second.record.key.digest != first.record.key.digest
    assert store.candidates(bundle, first.record.key.hardware) == [first.record]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("onnx", "0" * 64),
        ("tensorrt", "10.3.0.30"),
        ("compute", "8.9"),
        ("multiprocessors", 16),
        ("module", "Thor"),
        ("l4t", "36.4.4"),
        ("precision", "int8"),
        ("shape", (1, 3, 8, 8)),
        ("flags", ()),
        ("optimization", 5),
        ("workspace_mb", 1),
    ],
)
def test_every_part_of_the_key_counts(
    field: str, value: object, bundle: ModelBundle, store: EngineStore
) -> None:
    key = made(bundle, store).record.key
    assert key.model_copy(update={field: value}).digest != key.digest
    assert set(EngineKey.model_fields) == {
        *("onnx", "tensorrt", "compute", "multiprocessors", "module", "l4t", "precision", "shape", "flags"),
        *("optimization", "workspace_mb"),
    }


def test_the_previous_engine_is_kept_and_older_ones_go(bundle: ModelBundle, store: EngineStore) -> None:
    for _ in range(4):
        made(bundle, store, order=Order(again=True))
    assert [record.number for record in store.records()] == [4, 3]
    assert sum(name.endswith(".engine") for name in names(store)) == 2
    assert sum(name.endswith(".log") for name in names(store)) == 2


def test_an_engine_that_computes_something_else_is_refused_and_its_bytes_do_not_stay(
    bundle: ModelBundle, store: EngineStore
) -> None:
    good = made(bundle, store)
    with pytest.raises(EngineError, match=r"fp16 engine must not fly: it moves a score by .*0\.50%"):
        made(bundle, store, SimGpu(distortion=0.05), Order(again=True))
    refused = store.records()[0]
    assert not refused.usable
    assert not (store.folder / f"{refused.stem}.engine").exists()
    assert store.candidates(bundle, good.record.key.hardware) == [good.record]


def test_a_refused_engine_is_not_built_again_at_every_start(bundle: ModelBundle, store: EngineStore) -> None:
    gpu = SimGpu(distortion=0.05)
    for _ in range(2):
        with pytest.raises(EngineError, match="must not fly"):
            made(bundle, store, gpu)
    assert gpu.record.count("build_serialized_network") == 1


def test_what_the_gate_allows_can_be_widened(bundle: ModelBundle, store: EngineStore) -> None:
    found = made(bundle, store, SimGpu(distortion=1e-4), Order(tolerance=Tolerance(drift=0.9)))
    assert found.record.gate.max_drift is not None
    assert 0 < found.record.gate.max_drift < 0.9


def test_an_engine_that_gives_nan_is_refused(bundle: ModelBundle, store: EngineStore) -> None:
    with pytest.raises(EngineError, match="must not fly: it gives NaN or infinity"):
        made(bundle, store, SimGpu(distortion=float("inf")))
    assert store.records()[0].gate.max_drift is None


def test_an_engine_is_held_against_its_own_file_and_how_far_that_is_from_fp32_is_told_beside(
    tmp_path: Path, store: EngineStore
) -> None:
    """Quantising was judged at export, on footage: painted pictures move a score more than those did."""
    bundle = gpu_bundle_at(tmp_path / "strays", integers=blur_of(15, 17))
    found = made(bundle, store, order=Order(precision="int8")).record.gate
    assert (found.max_drift, found.refusal) == (0, "")
    assert found.file_drift is not None
    assert Tolerance().drift < found.file_drift < 0.1
    with pytest.raises(EngineError, match=r"int8 engine must not fly: it moves a score by .*0\.50%"):
        made(bundle, store, SimGpu(distortion=0.05), Order(precision="int8", again=True))


def test_a_file_of_another_model_makes_no_engine_that_flies(tmp_path: Path, store: EngineStore) -> None:
    bundle = gpu_bundle_at(tmp_path / "mixed", integers=blur_of(11, 11))
    with pytest.raises(EngineError, match=r"must not fly: its ONNX file .* by 3\d\.\d+%, as that of another"):
        made(bundle, store, order=Order(precision="int8"))
    assert store.records()[0].gate.max_drift == 0, "the engine itself computes its file"
    wide = Order(precision="int8", tolerance=Tolerance(drift=0.5), again=True)
    assert made(bundle, store, order=wide).record.usable


def test_a_file_that_gives_nan_makes_no_engine_that_flies(bundle: ModelBundle) -> None:
    with OnnxRuntime(bundle.model("fp32"), "truth") as truth:
        found = gate(bundle, truth, lambda seen: truth(seen) * float("nan"), truth, Tolerance())
    assert found.refusal == "its ONNX file gives NaN or infinity"
    assert (found.max_drift, found.file_drift) == (None, None)


def test_a_model_of_pairs_is_held_against_the_gate_by_its_features_too(tmp_path: Path) -> None:
    bundle = gpu_pairs_at(tmp_path / "bundle")
    with OnnxRuntime(bundle.model("fp32"), "truth") as truth:
        assert gate(bundle, truth, truth, truth, Tolerance()).refusal == ""
        wide = Tolerance(drift=1.0, features=0.001)
        found = gate(bundle, lambda seen: truth(seen) * 1.2, truth, truth, wide)
    features = found.feature_drift
    assert (features is None) == (truth_channels(bundle) == 4)
    assert features is None or "features" in found.refusal


def truth_channels(bundle: ModelBundle) -> int:
    with OnnxRuntime(bundle.model("fp32"), "truth") as truth:
        return int(truth(next(pictures(bundle.manifest.input))).shape[1])


def test_the_pictures_of_the_gate_are_the_same_each_time(bundle: ModelBundle) -> None:
    first, second = (list(pictures(bundle.manifest.input)) for _ in range(2))
    assert len(first) == 16
    assert all((a == b).all() for a, b in zip(first, second, strict=True))
    assert len({one.tobytes() for one in first}) == 16


# What goes wrong while building


class Killed(BaseException):
    """What kill -9 is to a test."""


def test_a_build_killed_half_way_leaves_what_was_there_and_the_next_one_sweeps_up(
    bundle: ModelBundle, store: EngineStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = made(bundle, store)
    for step in ("write engine", "write json", "build"):
        kill_at(step, bundle, store, monkeypatch)
        assert store.records() == [good.record]
        assert store.engine(good.record)
    after = made(bundle, store, order=Order(again=True))
    assert store.records() == [after.record, good.record]
    left = [name for name in names(store) if not name.startswith((after.record.stem, good.record.stem))]
    assert sorted(name for name in left if not name.startswith("timing")) == [FAILED_LOG, "lock"]


def kill_at(step: str, bundle: ModelBundle, store: EngineStore, monkeypatch: pytest.MonkeyPatch) -> None:
    written = EngineStore.write

    def write(self: EngineStore, name: str, data: bytes) -> None:
        if name.endswith(step.split()[1]):
            (self.folder / f".building-{name}").write_bytes(data[: len(data) // 2])
            raise Killed
        written(self, name, data)

    def tell(*_: object) -> bool:
        raise Killed

    with monkeypatch.context() as patched:
        if step.startswith("write"):
            patched.setattr(EngineStore, "write", write)
        with pytest.raises(Killed):
            make_engine(
                bundle,
                Order(again=True),
                store,
                simulated(),
                tell if step == "build" else (lambda *_: True),
            )


def test_a_failed_build_keeps_its_log(bundle: ModelBundle, store: EngineStore) -> None:
    with pytest.raises(EngineError, match="Could not find any implementation"):
        made(bundle, store, SimGpu(failing={"build"}))
    assert "ERROR Error Code 10" in (store.folder / FAILED_LOG).read_text()
    assert store.records() == []


def test_two_builds_at_once_are_refused(bundle: ModelBundle, store: EngineStore) -> None:
    store.folder.mkdir()
    with (store.folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(EngineError, match="another build is at work"):
            made(bundle, store)
    assert made(bundle, store).new


def test_too_little_room_is_said_before_building(
    bundle: ModelBundle, store: EngineStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(100, 90, 10_000_000))
    gpu = SimGpu()
    with pytest.raises(EngineError, match=r"10 MB free, a build needs 64; make room"):
        made(bundle, store, gpu)
    assert "build_serialized_network" not in gpu.record


@pytest.mark.parametrize("suffix", ["engine", "json"])
def test_a_disk_that_fills_up_leaves_the_engine_that_was_there(
    suffix: str, bundle: ModelBundle, store: EngineStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = made(bundle, store)
    replaced = Path.replace

    def full(self: Path, target: Path) -> Path:
        if str(target).endswith(suffix):
            raise OSError(28, "No space left on device")
        return replaced(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", full)
        with pytest.raises(EngineError, match="cannot be written: No space left on device; make room"):
            made(bundle, store, order=Order(again=True))
    assert store.records() == [good.record]
    assert made(bundle, store).record == good.record


def test_a_folder_that_cannot_be_made_is_one_sentence(bundle: ModelBundle, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EngineError, match="cannot be written: Not a directory"):
        made(bundle, EngineStore(tmp_path / "file" / "engines"))


def test_a_gpu_without_memory_leaves_the_cache_alone(bundle: ModelBundle, store: EngineStore) -> None:
    good = made(bundle, store)
    with pytest.raises(GpuError, match="exhausted while building"):
        made(bundle, store, SimGpu(memory=1 << 20), Order(again=True))
    assert store.records() == [good.record]


def test_a_spoilt_engine_is_built_again(bundle: ModelBundle, store: EngineStore) -> None:
    first = made(bundle, store)
    path = store.folder / f"{first.record.stem}.engine"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(EngineError, match="was truncated or changed; `skerry engine build`"):
        store.engine(first.record)
    assert made(bundle, store).new
    path.unlink()
    with pytest.raises(EngineError, match="cannot be read"):
        store.engine(first.record)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(junk=st.one_of(st.binary(max_size=300), st.text(max_size=100).map(str.encode)))
def test_a_record_that_is_none_is_passed_over(junk: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("engines")
    (folder / "000001-0123456789abcdef.json").write_bytes(junk)
    assert EngineStore(folder).records() == []


def test_a_record_under_another_name_or_of_another_format_is_passed_over(
    bundle: ModelBundle, store: EngineStore
) -> None:
    record = made(bundle, store).record
    path = store.folder / f"{record.stem}.json"
    path.rename(path.with_name(f"000009-{record.key.digest}.json"))
    assert store.records() == []
    path.write_text(json.dumps({**json.loads(record.model_dump_json()), "format": 1}))
    assert store.records() == []
    path.write_text(record.model_dump_json())
    assert store.records() == [record]
    assert EngineRecord.model_validate_json(path.read_bytes()) == record


def test_a_bundle_without_the_variant_says_what_it_has(tmp_path: Path, store: EngineStore) -> None:
    with pytest.raises(BundleError, match="no variant 'fp16'; it has fp32"):
        made(bundle_at(tmp_path / "plain"), store)


def test_a_bundle_without_fp32_cannot_be_gated(bundle: ModelBundle, store: EngineStore) -> None:
    variants = {name: file for name, file in bundle.manifest.variants.items() if name != "fp32"}
    halved = ModelBundle(bundle.folder, bundle.manifest.model_copy(update={"variants": variants}), "")
    with pytest.raises(BundleError, match="no fp32 model to hold another one against"):
        made(halved, store)


def test_verbose_lines_stay_out_of_the_log(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as file:
        write = engine_build._writer(file.write)
        write("VERBOSE of no interest")
        write("WARNING look\n")
    assert (tmp_path / "log").read_text() == "WARNING look\n"


def test_a_disk_that_is_full_raises_nothing_into_tensorrt() -> None:
    def full(text: str) -> int:
        raise OSError(28, "No space left on device")

    engine_build._writer(full)("ERROR something")


def test_a_reference_that_gives_nan_is_the_bundles_fault(bundle: ModelBundle) -> None:
    with (
        OnnxRuntime(bundle.model("fp32"), "truth") as truth,
        pytest.raises(BundleError, match="fp32 model of"),
    ):
        gate(bundle, truth, truth, lambda seen: truth(seen) * float("nan"), Tolerance())


def test_features_that_never_change_in_the_reference_are_compared_all_the_same(tmp_path: Path) -> None:
    bundle = gpu_pairs_at(tmp_path / "bundle")
    flat = np.zeros((1, 6, 12, 16), np.float32)
    found = gate(
        bundle, lambda _: flat + np.float32(0.5), lambda _: flat, lambda _: flat, Tolerance(drift=9.0)
    )
    assert found.feature_drift is not None
    assert "features" in found.refusal


def test_the_options_of_a_build_are_part_of_the_key(bundle: ModelBundle, store: EngineStore) -> None:
    small = made(bundle, store, order=Order(options=BuildOptions(workspace_mb=64)))
    assert made(bundle, store).record.key.digest != small.record.key.digest
