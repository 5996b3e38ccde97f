"""Made-up reports of a bench."""

from __future__ import annotations

from edge.bench_figures import Quantiles, Report, Run


def row(scale: float) -> Quantiles:
    return Quantiles(count=4, p50=scale, p90=2 * scale, p95=3 * scale, p99=4 * scale, max=5 * scale)


def run(variant: str = "int8-cpu", pace: str = "2", scale: float = 10.0, **other: object) -> Run:
    """A minute in which 120 frames took 3 s of processor; the alert's p50 is `scale`, infer's a tenth."""
    known = {
        "variant": variant,
        "runtime": "ONNX Runtime",
        "pace": pace,
        "frames": 120,
        "skipped": 0,
        "seconds": 60.0,
        "cpu_s": 3.0,
        "resident_mb": 130.0,
        "stages": {"infer": row(scale / 10), "alert": row(scale)},
        "alerts_ms": (scale, scale, 2 * scale, 5 * scale),
    }
    return Run.model_validate(known | other)


def report(*runs: Run, **facts: str) -> Report:
    measured = runs or (run(),)
    return Report(facts=facts, flown=measured[0].variant, left_out={}, runs=measured)
