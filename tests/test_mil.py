"""The heads: windows and whole streams give the same scores, which look at the past alone."""

import pytest
import torch

from edge.errors import UsageError
from train.mil import CausalHead, Head, HeadConfig, RankingHead, WhitenedHead, build_head, parameters
from train.whitening import root

WIDTH = 10
CONFIGS = [
    HeadConfig(hidden=(12, 5)),
    HeadConfig(hidden=(12, 5), second="relu"),
    HeadConfig(kind="causal", channels=8, prototypes=3, noise=0.5),
    HeadConfig(kind="causal", channels=8, prototypes=3, dilations=(1, 3)),
    HeadConfig(hidden=(12, 5), whiten=4, unit=True),
    HeadConfig(kind="causal", channels=8, prototypes=3, whiten=4),
]


def head_of(config: HeadConfig, seed: int = 0) -> Head:
    torch.manual_seed(seed)
    head = build_head(config, WIDTH)
    head.fit(torch.randn(50, WIDTH) * torch.linspace(0.5, 2, WIDTH) + 1, torch.arange(50) < 25)
    return head.eval()


def stream(seed: int, length: int = 20) -> torch.Tensor:
    return torch.randn(1, length, WIDTH, generator=torch.Generator().manual_seed(seed))


def windows(features: torch.Tensor, history: int) -> torch.Tensor:
    """1 x length x width -> length x history x width; the first stands in for those that are missing."""
    padded = torch.cat([features[:, :1].expand(-1, history - 1, -1), features], 1)
    return torch.cat([padded[:, end - history : end] for end in range(history, padded.shape[1] + 1)])


@pytest.mark.parametrize("config", CONFIGS)
def test_a_stream_scored_whole_and_window_by_window_is_the_same(config: HeadConfig) -> None:
    """But for rounding: a product of many rows is added up in another order than that of one."""
    head, features = head_of(config).double(), stream(1).double()
    with torch.inference_mode():
        whole = head.sequence(features)[0]
        one_by_one = torch.cat([head(window[None]) for window in windows(features, head.history)])
    assert whole.shape == (20,)
    assert torch.allclose(whole, one_by_one, rtol=0, atol=1e-13)
    with torch.inference_mode():
        assert torch.allclose(head.float().sequence(features.float())[0].double(), whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("config", CONFIGS[:2])
def test_a_ranking_heads_windows_all_at_once_give_the_streams_bits(config: HeadConfig) -> None:
    head, features = head_of(config), stream(1)
    with torch.inference_mode():
        assert torch.equal(head(windows(features, head.history)), head.sequence(features)[0])


@pytest.mark.parametrize("config", CONFIGS)
def test_what_comes_later_changes_no_score(config: HeadConfig) -> None:
    head, features = head_of(config), stream(2)
    changed = features.clone()
    changed[:, 13:] = 9.0
    with torch.inference_mode():
        before, after = head.sequence(features)[0], head.sequence(changed)[0]
    assert torch.equal(before[:13], after[:13])
    assert not torch.equal(before[13:], after[13:])


@pytest.mark.parametrize("config", CONFIGS)
def test_a_score_looks_as_far_back_as_its_history_says_and_no_further(config: HeadConfig) -> None:
    head, features = head_of(config), stream(3, 40)
    reach = head.history - 1
    with torch.inference_mode():
        plain = head.sequence(features)[0]
        changed = features.clone()
        changed[:, 20] += 5
        moved = (head.sequence(changed)[0] != plain).nonzero().flatten().tolist()
    assert moved
    assert moved[0] == 20
    assert moved[-1] == 20 + reach


@pytest.mark.parametrize("config", CONFIGS)
def test_bags_side_by_side_do_not_touch_each_other(config: HeadConfig) -> None:
    head = head_of(config)
    one, two = stream(4), stream(5)
    with torch.inference_mode():
        both = head.sequence(torch.cat([one, two]))
        alone = torch.cat([head.sequence(one), head.sequence(two)])
    assert torch.allclose(both, alone, atol=1e-6)


def test_the_published_head_has_the_published_number_of_weights() -> None:
    """1024-512-32-1 with biases."""
    assert parameters(RankingHead(HeadConfig(), 1024)) == 541_249


@pytest.mark.parametrize("width", [1024, 2560])
def test_the_small_head_has_at_most_600_thousand_weights(width: int) -> None:
    assert parameters(CausalHead(HeadConfig(kind="causal"), width)) <= 600_000


def test_between_the_second_layer_and_the_last_there_is_a_relu_only_where_asked_for() -> None:
    """Without one, two linear layers are one: halfway between two hidden states the logit is halfway too."""
    bent = []
    for second in ("linear", "relu"):
        head = head_of(HeadConfig(hidden=(12, 5), second=second))
        assert isinstance(head, RankingHead)
        after_first = head.layers[3:]
        a, b = torch.randn(2, 12, generator=torch.Generator().manual_seed(6)) * 3
        with torch.inference_mode():
            halves = (after_first(a) + after_first(b)) / 2
            bent.append(bool((after_first((a + b) / 2) - halves).abs() > 1e-4))
    assert bent == [False, True]


def test_the_ranking_heads_weights_are_glorot_normal_and_its_biases_zero() -> None:
    torch.manual_seed(0)
    first = RankingHead(HeadConfig(), 1024).layers[0]
    assert isinstance(first, torch.nn.Linear)
    assert float(first.weight.detach().std()) == pytest.approx((2 / (1024 + 512)) ** 0.5, rel=0.02)
    assert float(first.bias.detach().abs().max()) == 0


def test_features_are_brought_to_mean_0_and_spread_1_and_what_hardly_varies_is_not_blown_up() -> None:
    features = torch.randn(400, WIDTH, generator=torch.Generator().manual_seed(7)) * 2 + 3
    features[:, 0] = 3 + 1e-6 * features[:, 0]
    head = CausalHead(HeadConfig(kind="causal", channels=4, prototypes=2), WIDTH)
    head.fit(features, torch.arange(400) < 200)
    even = (features - head.centre) * head.scale
    assert even.mean(0).abs().max() < 1e-3
    assert torch.allclose(even[:, 1:].std(0), torch.ones(WIDTH - 1), atol=1e-3)
    assert even[:, 0].std() < 1e-3


def whitened(unit: bool = False) -> tuple[WhitenedHead, torch.Tensor]:
    """Of features that differ mostly along two directions, one of them of large numbers."""
    chance = torch.Generator().manual_seed(3)
    along = torch.randn(300, 2, generator=chance) @ torch.randn(2, WIDTH, generator=chance)
    features = (along + 0.01 * torch.randn(300, WIDTH, generator=chance)) * torch.logspace(-2, 2, WIDTH)
    head = build_head(HeadConfig(hidden=(12, 5), whiten=2, unit=unit), WIDTH).eval()
    assert isinstance(head, WhitenedHead)
    head.fit(features, torch.arange(300) < 150)
    return head, features


def test_a_whitened_head_sees_few_directions_of_which_none_outweighs_another() -> None:
    head, features = whitened()
    seen = (root(features) - head.centre) @ head.white
    assert seen.shape == (300, 2)
    assert torch.allclose(seen.T @ seen / 300, torch.eye(2), atol=0.02)
    assert torch.allclose(head.sequence(features[None]), head.inner.sequence(seen[None]))


def test_a_whitened_feature_of_length_1_says_no_more_how_far_it_lies_from_the_middle() -> None:
    head, features = whitened(unit=True)
    seen = (root(features) - head.centre) @ head.white
    length = seen.norm(dim=-1, keepdim=True)
    assert torch.allclose(
        head.sequence(features[None]), head.inner.sequence((seen / length)[None]), atol=1e-5
    )


def test_fewer_clips_than_directions_leave_the_last_ones_empty() -> None:
    head = build_head(HeadConfig(hidden=(12, 5), whiten=8), WIDTH)
    assert isinstance(head, WhitenedHead)
    head.fit(torch.rand(5, WIDTH), torch.arange(5) < 2)
    assert head.white.shape == (WIDTH, 8)
    assert float(head.white[:, :3].abs().min()) > 0
    assert float(head.white[:, 3:].abs().max()) == 0


def test_the_directions_of_a_whitened_head_count_among_its_weights() -> None:
    plain, head = HeadConfig(hidden=(12, 5)), HeadConfig(hidden=(12, 5), whiten=4)
    assert parameters(build_head(head, WIDTH)) == parameters(build_head(plain, 4)) + 4 * WIDTH


def test_noise_is_of_training_alone() -> None:
    head = head_of(HeadConfig(kind="causal", channels=8, prototypes=3, noise=0.5, dropout=0.0))
    with torch.no_grad():
        assert torch.equal(head.sequence(stream(8)), head.sequence(stream(8)))
        head.train()
        assert not torch.equal(head.sequence(stream(8)), head.sequence(stream(8)))


def test_likeness_is_that_of_the_nearest_usual_and_the_nearest_foreign_prototype() -> None:
    head = head_of(HeadConfig(kind="causal", channels=8, prototypes=3))
    assert isinstance(head, CausalHead)
    with torch.inference_mode():
        _, plain = head.likened(stream(9))
        assert plain.shape == (1, 20, 2)
        head.prototypes.bias[1] += 50  # a usual one
        _, usual = head.likened(stream(9))
        head.prototypes.bias[4] += 90  # a foreign one
        _, foreign = head.likened(stream(9))
    assert (usual[..., 0] > plain[..., 0] + 30).all()
    assert torch.equal(usual[..., 1], plain[..., 1])
    assert (foreign[..., 1] > plain[..., 1] + 70).all()


@pytest.mark.parametrize("dilations", [(), (1, 0)])
def test_a_causal_head_without_a_past_is_one_sentence(dilations: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="a causal head needs dilations of 1 and more"):
        build_head(HeadConfig(kind="causal", dilations=dilations), WIDTH)
