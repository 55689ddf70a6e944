"""Malformed adapters: each is refused with a reason, or it is whole; none runs code or stays."""

import io
import json
import pickle
import random
import struct
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from peft.tuners.lora import LoraLayer
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from fairgen.adapters import WEIGHTS, Adapter, load_adapter, save_adapter
from fairgen.backbones import Backbone, load_backbone
from fairgen.base_model import fingerprint
from fairgen.exchange import export_adapter, import_adapter, tool_families
from tests.fairgen.test_adapters import make_adapter
from tests.families import SIZE_PX
from tests.fuzzing import Memory, spread, watched
from tests.tiny import GENDER

FAMILY = tool_families()[0]
Variants = Iterator[tuple[str, bytes]]
Header = dict[str, Any]
_DTYPES = (
    "F64", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "U16", "U32", "U64", "BOOL", "C64",
    "F8_E4M3", "F8_E5M2", "F8_E8M0", "F6_E2M3", "F6_E3M2", "F4", "Q4", "", None, 3,
)  # fmt: skip
_BITS = {"F64": 64, "I64": 64, "U64": 64, "C64": 64, "F16": 16, "BF16": 16, "I16": 16, "U16": 16,
         "I32": 32, "U32": 32, "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4}  # fmt: skip
_SHAPES = ([-1, 2], [2**62, 2**62], [2**63, 2], [0], [], [1.5], ["2"], "2", None)
_OFFSETS = ([-1, 5], [5, 1], [0, 2**40], [0, 2**64], [1], [], "ab", None)
_METADATA = (None, [], "text", {"fairgen": 1}, {"fairgen": {}}, {"fairgen": None}, {})
_TEXTS = ("", "{", "[]", "null", "NaN", "[" * 5000, '{"attribute": 1}', "\ud800")
_VALUES = (None, -1, 0.5, float("inf"), 10**400, "", [], {}, "\ud800")
_KEYS = ("unet.x.lora_A.weight", "x", "", "unet..lora_A.weight", ".lora_A.weight", "\0", "é")


class Marker:
    """What leaves a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Callable[..., None], tuple[Path]]:
        return Path.touch, (self._path,)


def header_of(content: bytes) -> tuple[Header, bytes]:
    """Return a safetensors file's header and the data after it."""
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def in_order(content: bytes) -> bytes:
    """Return a file with its header sorted: safetensors writes metadata in any order."""
    header, data = header_of(content)
    return file_of(json.loads(json.dumps(header, sort_keys=True)), data)


def file_of(header: object, data: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def bytes_changed(content: bytes) -> Variants:
    """Yield a file cut short, with a bit turned, or with another length of its header."""
    rng = random.Random(0)
    (length,) = struct.unpack("<Q", content[:8])
    for _ in range(80):
        kept = rng.randrange(len(content))
        yield f"first {kept} bytes", content[:kept]
    places = [rng.randrange(8 + length) for _ in range(100)]
    places += [rng.randrange(8 + length, len(content)) for _ in range(40)]
    for place in places:
        bit = rng.randrange(8)
        turned = content[place] ^ 1 << bit
        yield f"bit {bit} of byte {place}", content[:place] + bytes([turned]) + content[place + 1 :]
    for place in range(8):
        for value in (0, 1, 0x7F, 0xFF):
            yield (
                f"byte {place} is {value}",
                content[:place] + bytes([value]) + content[place + 1 :],
            )
    for wrong in (0, 1, length - 1, length + 1, len(content), 2**40, 2**63, 2**64 - 1):
        yield f"header of {wrong} bytes", struct.pack("<Q", wrong) + content[8:]


def headers_changed(content: bytes) -> Variants:
    """Yield a file whose header says something else of its tensors, or of itself."""
    header, data = header_of(content)
    first, second = [key for key in header if len(header[key].get("shape", ())) == 2][:2]
    begin, end = header[first]["data_offsets"]

    def said(key: str, **fields: object) -> bytes:
        return file_of(header | {key: header[key] | fields}, data)

    for dtype in _DTYPES:
        fitting = [(end - begin) * 8 // _BITS.get(str(dtype), 8)]
        yield f"dtype {dtype}", said(first, dtype=dtype)
        yield f"dtype {dtype} that fits", said(first, dtype=dtype, shape=fitting)
    shape = header[first]["shape"]
    for other in (*_SHAPES, shape[::-1], [1, *shape], [shape[0] * shape[1]]):
        yield f"shape {other}", said(first, shape=other)
    for offsets in (*_OFFSETS, header[second]["data_offsets"], [begin, end + 4]):
        yield f"offsets {offsets}", said(first, data_offsets=offsets)
    for key in _KEYS:
        renamed = {key if name == first else name: value for name, value in header.items()}
        yield f"key {key!r} instead", file_of(renamed, data)
        nothing = {"dtype": "F32", "shape": [0], "data_offsets": [len(data), len(data)]}
        yield f"key {key!r} more", file_of(header | {key: nothing}, data)
    yield "a key less", file_of({k: v for k, v in header.items() if k != first}, data)
    yield "a key's tensor gone", file_of(header | {first: None}, data)
    twice = json.dumps(header)[:-1] + "," + json.dumps({first: header[second]})[1:]
    yield "a key twice", struct.pack("<Q", len(twice)) + twice.encode() + data
    for metadata in _METADATA:
        yield f"metadata {metadata}", file_of(header | {"__metadata__": metadata}, data)
    for field in header.get("__metadata__", {}):
        for text in _TEXTS:
            changed = deepcopy(header)
            changed["__metadata__"][field] = text
            yield f"{field} is {text[:20]!r}", file_of(changed, data)


def own_words_changed(content: bytes) -> Variants:
    """Yield an adapter that says something else of itself."""
    header, data = header_of(content)
    words = json.loads(header["__metadata__"]["fairgen"])
    for field in (*words, "more"):
        for value in _VALUES:
            changed = deepcopy(header)
            changed["__metadata__"]["fairgen"] = json.dumps(words | {field: value})
            yield f"{field} is {str(value)[:20]!r}", file_of(changed, data)
        changed = deepcopy(header)
        less = {name: value for name, value in words.items() if name != field}
        changed["__metadata__"]["fairgen"] = json.dumps(less)
        yield f"without {field}", file_of(changed, data)


def no_safetensors(marker: Path) -> Variants:
    yield "nothing", b""
    yield "zeros", bytes(64)
    yield "text", b"a photo of a doctor" * 20
    yield "JSON", b'{"__metadata__": {}}'
    yield "a header of brackets", struct.pack("<Q", 50_000) + b"[" * 50_000
    yield "an empty header", file_of({}, b"")
    yield "a list for a header", file_of([1], b"")
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        yield f"pickle {protocol}", pickle.dumps(Marker(marker), protocol)
    for zipped in (True, False):
        saved = io.BytesIO()
        torch.save(Marker(marker), saved, _use_new_zipfile_serialization=zipped)
        yield f"torch.save, zipped {zipped}", saved.getvalue()


def told_wrong(adapter: Adapter, folder: Path) -> Variants:
    """Yield adapters with a true checksum, whose tensors are no directions."""
    with safe_open(save_adapter(adapter, folder), framework="pt") as stored:
        words = stored.metadata()
    for name, change in {
        "nan": lambda down, up: (down * float("nan"), up),
        "infinite": lambda down, up: (down, up * float("inf")),
        "another rank": lambda down, up: (down[:1], up[:, :1]),
        "two ranks": lambda down, up: (down[:1], up),
        "no rank": lambda down, up: (down[:0], up[:, :0]),
        "vectors": lambda down, up: (down.flatten(), up.flatten()),
        "cubes": lambda down, up: (down[None], up[None]),
        "A and B swapped": lambda down, up: (up, down),
        "whole numbers": lambda down, up: (down.int(), up.int()),
    }.items():
        pairs = {path: change(*pair) for path, pair in adapter.directions.items()}
        pairs = {path: (down.contiguous(), up.contiguous()) for path, (down, up) in pairs.items()}
        changed = Adapter(adapter.metadata, pairs)
        words |= {"fairgen_sha256": changed.sha256}
        tensors = {
            f"unet.{path}.lora_{side}.weight": tensor
            for path, pair in pairs.items()
            for side, tensor in zip("AB", pair, strict=True)
        }
        save_file(tensors, folder / "wrong.safetensors", metadata=words)
        yield name, (folder / "wrong.safetensors").read_bytes()
    save_file({}, folder / "wrong.safetensors", metadata=words)
    yield "no directions", (folder / "wrong.safetensors").read_bytes()


def is_refused(
    read: Callable[[], Adapter], place: Path, accepted: Callable[[Adapter], bool]
) -> bool:
    """Return whether reading ends in a ValueError that names the file; otherwise what is read is
    as `accepted` says.
    """
    try:
        found = read()
    except ValueError as error:
        assert type(error) is ValueError and str(place) in str(error)
        return True
    assert accepted(found)
    return False


def test_a_malformed_adapter_is_refused_or_its_weights_are_what_they_were(
    pipe: StableDiffusionPipeline, tmp_path: Path
) -> None:
    adapter, marker, memory = make_adapter(pipe), tmp_path / "ran", Memory()
    whole = in_order(save_adapter(adapter, tmp_path / "whole").read_bytes())
    sources = (
        bytes_changed(whole), headers_changed(whole), own_words_changed(whole),
        no_safetensors(marker), told_wrong(adapter, tmp_path),
    )  # fmt: skip
    variants = [variant for source in sources for variant in source]
    file = tmp_path / "fuzzed" / WEIGHTS
    file.parent.mkdir()
    refused = 0
    for name, content in variants:
        file.write_bytes(content)
        with watched(name):
            refused += is_refused(
                lambda: load_adapter(file.parent), file, lambda it: it.sha256 == adapter.sha256
            )
        memory.look()
    assert len(variants) >= 450 and refused >= 0.9 * len(variants)
    assert not marker.exists()
    memory.check()


def foreign(adapter: Adapter, folder: Path) -> bytes:
    """Return an adapter as another tool writes it in diffusers' form: it says nothing of itself."""
    save_file(load_file(save_adapter(adapter, folder)), folder / WEIGHTS)
    return (folder / WEIGHTS).read_bytes()


def of_kohya(adapter: Adapter, folder: Path) -> bytes:
    return export_adapter(adapter, "kohya", folder, FAMILY).read_bytes()


def leftovers(backbone: Backbone) -> list[str]:
    """Return what loading a LoRA has left in a denoiser."""
    layers = backbone.denoiser.named_modules()
    return [name for name, layer in layers if isinstance(layer, LoraLayer)]


def reader_of(
    path: Path, backbone: Backbone, folder: Path
) -> tuple[Callable[[], Adapter], Callable[[Adapter], bool]]:
    """Return what imports a LoRA, and whether what it makes of it can be saved and read again."""
    base = fingerprint(backbone.denoiser)

    def read() -> Adapter:
        return import_adapter(path, backbone, GENDER, "woman", base)

    def can_be_kept(found: Adapter) -> bool:
        save_adapter(found, folder)
        return load_adapter(folder, base).sha256 == found.sha256

    return read, can_be_kept


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", [foreign, of_kohya])
def test_a_malformed_lora_of_another_tool_is_refused_or_can_be_kept(
    pipe: StableDiffusionPipeline, tmp_path: Path, form: Callable[[Adapter, Path], bytes]
) -> None:
    adapter, marker, memory = make_adapter(pipe), tmp_path / "ran", Memory()
    whole = in_order(form(adapter, tmp_path / "whole"))
    backbone = load_backbone(pipe, SIZE_PX)
    file = tmp_path / "lora.safetensors"
    read, can_be_kept = reader_of(file, backbone, tmp_path / "kept")
    variants = [*bytes_changed(whole), *headers_changed(whole), *no_safetensors(marker)]
    assert len(variants) >= 300
    refused, variants = 0, spread(variants)
    for name, content in variants:
        file.write_bytes(content)
        with watched(name):
            refused += is_refused(read, file, can_be_kept)
            assert not leftovers(backbone)
        memory.look()
    assert refused >= 0.5 * len(variants)
    assert not marker.exists()
    memory.check()
    file.write_bytes(whole)
    assert can_be_kept(read())  # what was refused is in nobody's way


def test_an_adapter_of_ours_is_not_imported_with_a_bit_turned(
    pipe: StableDiffusionPipeline, tmp_path: Path
) -> None:
    file = save_adapter(make_adapter(pipe), tmp_path)
    read, _ = reader_of(tmp_path, load_backbone(pipe, SIZE_PX), tmp_path / "kept")
    assert read().name == "gender-woman"
    content = file.read_bytes()
    file.write_bytes(content[:-3] + bytes([content[-3] ^ 1]) + content[-2:])
    with pytest.raises(ValueError, match="corrupted, the weights' checksum"):
        read()


_CONFIG_VALUES = (None, -1, True, "x", ["("], {"x": 1})


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_malformed_config_of_peft_is_refused_or_the_lora_can_be_kept(
    pipe: StableDiffusionPipeline, tmp_path: Path
) -> None:
    adapter, marker = make_adapter(pipe), tmp_path / "ran"
    folder = export_adapter(adapter, "peft", tmp_path / "peft", FAMILY)
    config = folder / "adapter_config.json"
    whole = json.loads(config.read_text())
    variants = {
        f"{field} is {value!r}": json.dumps(whole | {field: value}).encode()
        for field in whole
        for value in _CONFIG_VALUES
    }
    variants |= {
        f"without {field}": json.dumps({k: v for k, v in whole.items() if k != field}).encode()
        for field in whole
    }
    variants |= {
        "nothing": b"", "a brace": b"{", "a list": b"[]", "null": b"null", "half": b'{"r": 2,',
        "brackets": b"[" * 5000, "no text": b"\xff\xfe", "pickle": pickle.dumps(Marker(marker)),
    }  # fmt: skip
    backbone = load_backbone(pipe, SIZE_PX)
    assert len(variants) >= 250
    for name, content in spread(list(variants.items())):
        config.write_bytes(content)
        read, can_be_kept = reader_of(folder, backbone, tmp_path / "kept")
        with watched(name):
            is_refused(read, folder, can_be_kept)
            assert not leftovers(backbone)
    assert not marker.exists()


def half_gone(tensors: dict[str, torch.Tensor], first: str) -> None:
    del tensors[first]


def no_number(tensors: dict[str, torch.Tensor], first: str) -> None:
    tensors[first][0, 0] = float("nan")


def with_magnitudes(tensors: dict[str, torch.Tensor], first: str) -> None:
    for key in [key for key in tensors if key.endswith("lora_B.weight")]:
        magnitudes = torch.ones(len(tensors[key]))
        tensors[key.replace("lora_B.weight", "lora_magnitude_vector")] = magnitudes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (half_gone, "got half of the directions on .*, allowed are pairs"),
        (no_number, "got numbers on .* that are not finite"),
        (with_magnitudes, "got DoRA, .*lora_magnitude_vector.*, allowed is plain LoRA"),
    ],
)
def test_what_is_no_pair_of_matrices_is_not_imported(
    pipe: StableDiffusionPipeline,
    tmp_path: Path,
    change: Callable[[dict[str, torch.Tensor], str], None],
    message: str,
) -> None:
    foreign(make_adapter(pipe), tmp_path)
    tensors = load_file(tmp_path / WEIGHTS)
    change(tensors, min(tensors))
    save_file(tensors, tmp_path / WEIGHTS)
    read, _ = reader_of(tmp_path, load_backbone(pipe, SIZE_PX), tmp_path / "kept")
    with pytest.raises(ValueError, match=message):
        read()


@pytest.mark.parametrize(
    ("field", "value"),
    [("bias", "all"), ("modules_to_save", ["to_q"]), ("init_lora_weights", "pissa")],
)
def test_what_peft_has_trained_beside_a_lora_is_not_lost_in_silence(
    pipe: StableDiffusionPipeline, tmp_path: Path, field: str, value: object
) -> None:
    folder = export_adapter(make_adapter(pipe), "peft", tmp_path / "peft", FAMILY)
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | {field: value}))
    read, _ = reader_of(folder, load_backbone(pipe, SIZE_PX), tmp_path / "kept")
    with pytest.raises(ValueError, match=f"{field}: got .*, allowed are"):
        read()
