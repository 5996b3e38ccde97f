from __future__ import annotations

import numpy as np
import pytest
import torch

from edge.clips import ClipSpec
from edge.runtimes import OnnxRuntime
from export import heads
from export.heads import asked, head_onnx, random_windows
from export.parity import ParityError
from tests.clips import extractor_spec
from train.mil import Head, HeadConfig, build_head

WIDTH = 48


def head_of(kind: str) -> tuple[Head, ClipSpec]:
    torch.manual_seed(1)
    causal = HeadConfig(kind="causal", channels=16, prototypes=4)
    ranking = HeadConfig(hidden=(32, 8), whiten=6, unit=True) if kind == "whitened" else HeadConfig()
    config = causal if kind == "causal" else ranking
    head = build_head(config, WIDTH).eval()
    head.fit(torch.rand(40, WIDTH), torch.arange(40) < 20)
    return head, ClipSpec(extractor=extractor_spec(), history=config.history)


@pytest.mark.parametrize("kind", ["ranking", "causal", "whitened"])
def test_a_head_says_in_onnx_what_it_says_in_pytorch(kind: str) -> None:
    head, spec = head_of(kind)
    windows = random_windows(spec) * 3
    with OnnxRuntime(head_onnx(head, spec), "head") as runtime:
        assert runtime.input_shape == (1, spec.history, WIDTH)
        said = [runtime(one[None]) for one in windows]
    truth = [asked(head)(one[None]) for one in windows]
    assert np.ptp(truth) > 0.01
    np.testing.assert_allclose(np.ravel(said), np.ravel(truth), atol=1e-5)


def test_a_head_that_says_other_in_onnx_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    head, spec = head_of("ranking")
    torch.manual_seed(2)
    other = heads.converted(
        build_head(HeadConfig(), WIDTH).eval(), torch.zeros(1, 1, WIDTH), "logit", "features"
    )
    monkeypatch.setattr(heads, "converted", lambda *_: other)
    with pytest.raises(ParityError, match="says other in ONNX than in PyTorch, by up to"):
        head_onnx(head, spec)
