"""NVIDIA's own ONNX parser and builder for the tests, where TensorRT for RTX is installed: it needs no GPU.

`pip install tensorrt_rtx_cu13_libs tensorrt_rtx_cu13_bindings`. Its interface is that of TensorRT 11:
strongly typed networks alone. It builds ahead of time for the GPUs of its list; to run an
engine takes one of them.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from types import SimpleNamespace

import pytest

from edge.gpu import Toolkit
from edge.tensorrt_builder import BuildOptions, build_engine

PACKAGE = "tensorrt_rtx_bindings"
needs_builder = pytest.mark.skipif(find_spec(PACKAGE) is None, reason="TensorRT for RTX is not installed")


def real_toolkit() -> Toolkit:
    """Under TensorRT's name, without CUDA: for building alone."""
    rtx = import_module(PACKAGE)
    return Toolkit(SimpleNamespace(**vars(rtx)), None)


def built(model: bytes, name: str = "it") -> bytes:
    return build_engine(model, name, real_toolkit(), BuildOptions()).engine
