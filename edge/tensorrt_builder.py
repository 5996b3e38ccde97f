"""ONNX -> TensorRT engine, on the device it is for: one way for TensorRT 10.3 to 11.4.

The network is strongly typed, so the ONNX file alone says what is computed in which precision: half weights
for fp16, explicit quantise / dequantise nodes for int8. There are no precision flags and no calibrators:
TensorRT 11 has none. Enum values moved between versions: flags are `1 << int(name)`, never a number.
See docs/tensorrt.md for what was proven on what.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from edge.gpu import EngineError, GpuError, Toolkit
from edge.tensorrt_runtime import Complaints, listener

Tell = Callable[[str, int, int], bool]  # phase, steps done, steps in all -> whether to go on
Write = Callable[[str], None]

LONGEST = 300  # characters of a complaint: the real parser names the node twice before it says why
UNSAID = "it cannot compute this"  # where the real parser says "false" and no more


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """`workspace_mb`: device memory that a layer may use while it runs; on a Jetson it is everybody's memory.
    `optimization`: TensorRT's builder level; 3 is its own default."""

    workspace_mb: int = 256
    optimization: int = 3


@dataclass(frozen=True, slots=True)
class Built:
    engine: bytes
    timing_cache: bytes  # makes the next build on this device shorter


def build_engine(
    model: bytes,
    name: str,
    toolkit: Toolkit,
    options: BuildOptions,
    timing_cache: bytes = b"",
    tell: Tell = lambda *_: True,
    write: Write = lambda _: None,
) -> Built:
    """`write` gets the builder's log line by line. Raises EngineError or GpuError, one sentence."""
    trt, complaints = toolkit.trt, Complaints()

    def note(severity: str, line: str) -> None:
        complaints(severity, line)
        write(f"{severity} {line}")

    logger = listener(trt, note)  # outlives everything made with it
    builder = _builder(trt, logger, complaints)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(model):
        raise EngineError(_not_parsed(parser, name, toolkit))
    _check_network(network, name)
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mb << 20)
    config.builder_optimization_level = options.optimization
    monitor = progress(trt, tell)  # a name of its own: it must live as long as the build
    config.progress_monitor = monitor
    _use_timing_cache(config, timing_cache, write)
    complaints.forget()
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise _not_built(name, complaints, stopped=monitor.stopped)
    return Built(bytes(plan), bytes(config.get_timing_cache().serialize()))


def _builder(trt: Any, logger: Any, complaints: Complaints) -> Any:
    """The bindings raise TypeError where the library returned a null pointer."""
    try:
        return trt.Builder(logger)
    except (TypeError, RuntimeError, MemoryError):
        raise GpuError(f"the GPU cannot start TensorRT's builder: {complaints.reason}") from None


def _not_parsed(parser: Any, name: str, toolkit: Toolkit) -> str:
    """The first complaint of the parser, with the operator that it does not know."""
    errors = list(_parser_errors(parser))
    why = errors[0] if errors else "the parser gives no reason"
    return (
        f"TensorRT {toolkit.version} cannot take {name}: {why}; export another variant, or fly this bundle "
        "on the processor"
    )


def _parser_errors(parser: Any) -> Iterator[str]:
    for number in range(parser.num_errors):
        error = parser.get_error(number)
        operator, why = error.node_operator(), " ".join(error.desc().split())[:LONGEST]
        where = f" at the operator {operator} ({error.node_name()})" if operator else ""
        yield f"{UNSAID if why == 'false' else why}{where}"


def _check_network(network: Any, name: str) -> None:
    """One input of fixed size, one output: what every runtime of Skerry has."""
    if (network.num_inputs, network.num_outputs) != (1, 1):
        raise EngineError(
            f"{name} has {network.num_inputs} inputs and {network.num_outputs} outputs; Skerry flies models "
            "with one of each"
        )
    if min(int(size) for size in network.get_input(0).shape) < 1:
        raise EngineError(f"the input of {name} has no fixed size; export it with a batch of 1")


def _use_timing_cache(config: Any, stored: bytes, write: Write) -> None:
    """A cache of another device or version is refused, never forced: forcing it may give wrong results."""
    if stored:
        cache = config.create_timing_cache(stored)
        if cache is not None and config.set_timing_cache(cache, False):
            return
        write("WARNING the timing cache is of another device or TensorRT; starting an empty one")
    config.set_timing_cache(config.create_timing_cache(b""), False)


def _not_built(name: str, complaints: Complaints, *, stopped: bool) -> EngineError | GpuError:
    if stopped:
        return GpuError(f"the build of {name} was stopped; run it again")
    if complaints.of_memory:
        return GpuError(
            f"the GPU's memory is exhausted while building {name}: stop the daemon and what else uses it, "
            "or give a smaller --workspace"
        )
    return EngineError(f"TensorRT cannot build {name}: {complaints.reason}; its log has the rest")


def progress(trt: Any, tell: Tell) -> Any:
    """TensorRT's phases as `tell` wants them; `stopped` once it has asked to stop.

    Called from threads of TensorRT's; nothing may be raised in it.
    """

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.stopped = False
            self._steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._steps[phase_name] = num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            steps = self._steps.get(phase_name, 0)
            self.stopped = self.stopped or not tell(phase_name, min(step + 1, steps), steps)
            return not self.stopped

        def phase_finish(self, phase_name: str) -> None:
            self._steps.pop(phase_name, None)

    return Monitor()
