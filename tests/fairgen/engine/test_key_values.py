"""Keys and values of the unconditional rows are computed once an engine, not once a picture."""

import torch

from fairgen.backbones import load_backbone
from fairgen.bank import AdapterBank
from fairgen.engine.key_values import KeyValueCache
from tests.families import tiny


def test_those_of_one_prompt_are_shared_and_those_of_many_do_not_pile_up() -> None:
    backbone = load_backbone(tiny("SD 1.x"))
    paths = backbone.prompt_projections()
    bank = AdapterBank(backbone.denoiser, paths)
    generator = torch.Generator().manual_seed(0)
    directions = {
        path: (
            torch.randn(2, layer.in_features, generator=generator),
            torch.randn(layer.out_features, 2, generator=generator),
        )
        for path, layer in bank.layers.items()
    }
    bank.add("woman", directions)
    cache = KeyValueCache(backbone.denoiser, bank, paths)
    contexts = backbone.encode_negative([None, *(f"not {n} hats" for n in range(20))])

    none = cache.bare(None, contexts[0])
    plain = {path: backbone.denoiser.get_submodule(path)(contexts["text"][:1]) for path in paths}
    for path in paths:
        torch.testing.assert_close(none[path], plain[path][0])
    assert cache.bare(None, contexts[0])[paths[0]] is none[paths[0]]

    first = cache.bare("not 0 hats", contexts[1])
    for n in range(20):
        cache.bare(f"not {n} hats", contexts[n + 1])
        assert cache.bare(None, contexts[0])[paths[0]] is none[paths[0]]  # it is used all along
    again = cache.bare("not 0 hats", contexts[1])
    assert again[paths[0]] is not first[paths[0]]
    torch.testing.assert_close(again, first)
