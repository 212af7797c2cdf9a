"""Packed and plain linear layers compute the same, and plain is what remains without packing."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from enclave.models import int8, linear

MODULES = pytest.mark.parametrize("module", [linear, int8], ids=["float32", "int8"])
TOKENS = pytest.mark.parametrize("tokens", [1, 2, 7, 16, 31, 64, 300])


@pytest.fixture(autouse=True)
def untried() -> Iterator[None]:
    """Have packing tried again, now and afterwards."""
    for module in (linear, int8):
        module.packing_works.cache_clear()
    yield
    for module in (linear, int8):
        module.packing_works.cache_clear()


def require(module: ModuleType) -> None:
    if not module.packing_works():
        pytest.skip("this torch cannot pack such weights on this processor")


def weights(module: ModuleType) -> tuple[Tensor, ...]:
    """What its layers are made of, 40 numbers to 24: weight, scale where there is one, bias."""
    chance = torch.Generator().manual_seed(24)
    weight, bias = torch.randn(24, 40, generator=chance), torch.randn(24, generator=chance)
    if module is linear:
        return weight, bias
    scale = weight.abs().amax(1) / 127
    return (weight / scale.unsqueeze(1)).round().to(torch.int8), scale, bias


def texts(tokens: int) -> tuple[Tensor, Tensor]:
    """Two texts (2, L, 40) and a residual (2, L, 24)."""
    chance = torch.Generator().manual_seed(tokens)
    x = torch.randn(2, tokens, 40, generator=chance)
    return x, torch.randn(2, tokens, 24, generator=chance)


@TOKENS
@MODULES
def test_packed_is_plain_at_any_length(module: ModuleType, tokens: int) -> None:
    require(module)
    packed, plain = module.Packed(*weights(module)), module.Plain(*weights(module))
    x, residual = texts(tokens)
    assert torch.allclose(packed(x), plain(x), atol=1e-5)
    assert torch.allclose(packed.gelu(x), plain.gelu(x), atol=1e-5)
    assert torch.allclose(packed.add(x, residual), plain.add(x, residual), atol=1e-5)


@TOKENS
def test_a_plain_layer_is_torchs_own(tokens: int) -> None:
    weight, bias = weights(linear)
    (x, residual), layer = texts(tokens), linear.Plain(weight, bias)
    expected = functional.linear(x, weight, bias)
    assert torch.equal(layer(x), expected)
    assert torch.equal(layer.gelu(x), functional.gelu(expected))
    assert torch.equal(layer.add(x, residual), expected + residual)


def test_a_layer_of_int8_is_what_its_formula_says() -> None:
    weight, scale, bias = weights(int8)
    x, _ = texts(3)
    found = int8.Plain(weight, scale, bias)(x)
    for text in range(2):
        for token in range(3):
            step = x[text, token].abs().max() / 127
            whole = (x[text, token] / step).round().long() @ weight.long().T  # exact
            expected = whole * step * scale + bias
            assert torch.allclose(found[text, token], expected, rtol=1e-5, atol=1e-6)


@MODULES
def test_a_token_of_zeros_gives_the_bias(module: ModuleType) -> None:
    found = module.Plain(*weights(module))(torch.zeros(1, 2, 40))
    assert torch.equal(found, weights(module)[-1].expand(1, 2, 24))


@MODULES
def test_a_packed_layer_does_not_look_at_its_weight_again(module: ModuleType) -> None:
    require(module)
    (weight, *rest), (x, _) = weights(module), texts(3)
    layer = module.Packed(weight, *rest)
    before = layer(x)
    weight.fill_(1)
    assert torch.equal(layer(x), before)


@pytest.mark.parametrize("kind", ["Plain", "Packed"])
@MODULES
def test_what_a_layer_is_given_is_left_as_it_was(module: ModuleType, kind: str) -> None:
    require(module)
    layer, (x, residual) = getattr(module, kind)(*weights(module)), texts(3)
    before = x.clone(), residual.clone()
    layer(x), layer.gelu(x), layer.add(x, residual)
    assert torch.equal(x, before[0]) and torch.equal(residual, before[1])


@MODULES
def test_no_packing_without_its_operators(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(*arguments: Tensor) -> None:
        raise NotImplementedError("could not run mkl::_mkl_reorder_linear_weight")

    monkeypatch.setattr(module, "Packed", absent)
    assert not module.packing_works()


@MODULES
def test_no_packing_where_it_computes_something_else(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wrong(module.Plain):  # type: ignore[name-defined,misc]
        off = 0.0

        def __call__(self, x: Tensor) -> Any:
            return super().__call__(x) + self.off

    monkeypatch.setattr(module, "Packed", Wrong)
    assert module.packing_works()  # nothing is wrong with it yet
    module.packing_works.cache_clear()
    Wrong.off = 1e-3
    assert not module.packing_works()


def test_no_packing_where_sums_saturate(monkeypatch: pytest.MonkeyPatch) -> None:
    """As they do where pairs of products are added in 16 bits."""

    class Saturating(int8.Plain):
        __slots__ = ()

        def _product(self, rounded: Tensor) -> Tensor:
            products = (rounded + 128).unsqueeze(-2) * self._weight  # (..., O, I)
            pairs = (
                products.view(*products.shape[:-1], -1, 2).sum(-1).clamp(-(1 << 15), (1 << 15) - 1)
            )
            result: Tensor = (pairs.sum(-1) - 128.0 * self._weight.sum(1)) * self._scale
            return result

    monkeypatch.setattr(int8, "Packed", Saturating)
    assert not int8.packing_works()
