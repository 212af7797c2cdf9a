"""Packed and plain linear layers compute the same, and plain is what remains without packing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch.nn import functional

from enclave.models import linear

PACKING = pytest.mark.skipif(
    not linear.packing_works(), reason="this torch cannot pack weights on this processor"
)


@pytest.fixture
def untried() -> Iterator[None]:
    """Have packing tried again, now and afterwards."""
    linear.packing_works.cache_clear()
    yield
    linear.packing_works.cache_clear()


@PACKING
@pytest.mark.parametrize("tokens", [1, 2, 7, 16, 31, 64])
def test_packed_is_plain_at_any_length(tokens: int) -> None:
    chance = torch.Generator().manual_seed(tokens)
    weight = torch.randn(24, 40, generator=chance)
    bias, residual = torch.randn(24, generator=chance), torch.randn(2, tokens, 24, generator=chance)
    x = torch.randn(2, tokens, 40, generator=chance)
    for kind in (linear.Plain(weight, bias), linear.Packed(weight, bias)):
        plain = functional.linear(x, weight, bias)
        assert torch.allclose(kind(x), plain, atol=1e-5)
        assert torch.allclose(kind.gelu(x), functional.gelu(plain), atol=1e-5)
        assert torch.allclose(kind.add(x, residual), plain + residual, atol=1e-5)


@PACKING
def test_a_packed_layer_does_not_look_at_its_weight_again() -> None:
    weight, x = torch.randn(24, 40), torch.randn(1, 3, 40)
    layer = linear.Packed(weight, torch.zeros(24))
    before = layer(x)
    weight.fill_(torch.nan)
    assert torch.equal(layer(x), before)


def test_a_residual_is_left_as_it_was() -> None:
    weight, x, residual = torch.randn(24, 40), torch.randn(1, 3, 40), torch.ones(1, 3, 24)
    linear.Plain(weight, torch.zeros(24)).add(x, residual)
    assert torch.equal(residual, torch.ones(1, 3, 24))


@pytest.mark.usefixtures("untried")
def test_no_packing_without_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert not linear.packing_works()


@pytest.mark.usefixtures("untried")
def test_no_packing_without_its_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(weight: torch.Tensor, bias: torch.Tensor) -> linear.Packed:
        raise NotImplementedError("could not run mkldnn::_reorder_linear_weight")

    monkeypatch.setattr(linear, "Packed", absent)
    assert not linear.packing_works()


@PACKING
@pytest.mark.usefixtures("untried")
@pytest.mark.parametrize("method", ["__call__", "gelu", "add"])
def test_no_packing_where_it_computes_something_else(
    monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    right = getattr(linear.Plain, method)

    class Wrong(linear.Plain):
        pass

    monkeypatch.setattr(linear, "Packed", Wrong)
    assert linear.packing_works()  # nothing is wrong with it yet
    linear.packing_works.cache_clear()
    setattr(Wrong, method, lambda *arguments: right(*arguments) + 1e-3)
    assert not linear.packing_works()
