"""The adapter bank: every loaded adapter stacked on the denoiser, gated per row of the batch.

For a projection W (out x in) with K adapters of ranks r_k stacked to A (R x in) and B (out x R),
and gates G (N x K) expanded over ranks to g (N x R), the projection computes, in one pass,

    y = W x + ((x A^T) * g[:, None, :]) B^T

which is the indicator multiplied by the set of adapters (arXiv 2412.18810). Where a layer reads
text and picture in one sequence, only the positions that are text count (`positions`), and of a
layer that holds several projections only some columns. Only directions that a row has switched on
are multiplied, gathered once for a whole `with`: the cost follows how many adapters a picture uses,
not how many are loaded. The line is a forward hook on the layer that the denoiser calls, there only
inside the `with`: a LoRA of diffusers or PEFT works beside it, loaded before or after, and a bare
pass is the denoiser's own. Compiled code knows no hook that came later, so inside the `with` what
was compiled runs uncompiled. At its end every layer must have seen every row.
"""

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from fairgen.bank.active_directions import ActiveDirections
from fairgen.bank.positions import Positions, TextPositions

Hook = Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor | None]
Directions = Mapping[str, tuple[Tensor, Tensor]]
COMPUTE_DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
FUSED_LAYERS = {  # what `fuse_qkv_projections` makes of which layers
    "to_kv": ("to_k", "to_v"),
    "to_qkv": ("to_q", "to_k", "to_v"),
    "to_added_qkv": ("add_q_proj", "add_k_proj", "add_v_proj"),
}


class AdapterBank(nn.Module):
    """Holds the stacked directions; inside `gated(G)` each row mixes them by its gates.

    The bank is no part of the denoiser: its parameters are its own, the denoiser's stay untouched.
    """

    def __init__(
        self,
        denoiser: nn.Module,
        projections: Sequence[str],
        device: torch.device | None = None,
        columns: Mapping[str, slice] | None = None,
    ) -> None:
        """`device` is where the denoiser runs, by default where its weights are. `columns` are
        those of a layer's output that adapters act on, where these are not all.
        """
        super().__init__()
        self._device = device
        self._owner = [denoiser]  # in a list, so that it is no part of the bank
        self._is_closed = False
        self.projections = tuple(projections)
        self.layers = {path: _linear(denoiser.get_submodule(path), path) for path in projections}
        given = columns or {}
        self._own = {  # the columns of each projection's output that adapters act on
            path: slice(*given.get(path, slice(None)).indices(layer.out_features)[:2])
            for path, layer in self.layers.items()
        }
        self._ranks: dict[str, int] = {}
        self._active: ActiveDirections | None = None
        self._without: set[str] = set()
        self.A = nn.ParameterDict()
        self.B = nn.ParameterDict()
        for path, layer in self.layers.items():
            empty = _zeros_for(layer, self._device)
            self.A[_key(path)] = nn.Parameter(empty(0, layer.in_features), requires_grad=False)
            width = self._own[path].stop - self._own[path].start
            self.B[_key(path)] = nn.Parameter(empty(width, 0), requires_grad=False)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the loaded adapters: the order of the columns of the gates."""
        return tuple(self._ranks)

    def add(self, name: str, directions: Directions) -> None:
        """Load an adapter, projection -> (A: r x in, B: out x r); those it lacks stay as they are.

        Raises ValueError on a name that is loaded, a wrong projection or a wrong shape.
        """
        self._check_fit(name, directions)
        rank = next(iter(directions.values()))[0].shape[0]
        fitted = {}
        for path, layer in self.layers.items():
            empty = _zeros_for(layer, self._device)
            down, up = directions.get(
                path, (empty(rank, layer.in_features), empty(layer.out_features, rank))
            )
            like = empty(0)
            fitted[path] = (down.to(like), up[self._own[path]].to(like))
        self._append(name, fitted, requires_grad=False)

    def check(self, name: str, directions: Directions) -> None:
        """Raise ValueError for directions that do not fit the bank's projections, those that are
        not finite, and those that no picture would feel, as they are before they are learnt.
        """
        self._check_fit(name, directions)
        if not all(bool(one.isfinite().all()) for pair in directions.values() for one in pair):
            raise ValueError(f"directions of {name!r}: got numbers that are not finite")
        if not any(bool((up.float() @ down.float()).any()) for down, up in directions.values()):
            raise ValueError(
                f"directions of {name!r}: got zeros on every projection, allowed are some "
                "that change a picture"
            )

    def _check_fit(self, name: str, directions: Directions) -> None:
        odd = sorted(set(directions) - set(self.projections))
        if odd or not directions:
            got = f"other projections than the bank's, such as {odd[:3]}" if odd else "none"
            raise ValueError(
                f"directions of {name!r}: got {got}, allowed are {list(self.projections[:3])}..."
            )
        ranks = {down.shape[0] for down, _ in directions.values()}
        if len(ranks) != 1:
            raise ValueError(
                f"directions of {name!r}: got ranks {sorted(ranks)}, allowed is one rank"
            )
        for path, (down, up) in directions.items():
            layer = self.layers[path]
            if down.shape[1] != layer.in_features or up.shape != (
                layer.out_features,
                down.shape[0],
            ):
                raise ValueError(
                    f"directions of {name!r} on {path}: "
                    f"got A {tuple(down.shape)} and B {tuple(up.shape)}, "
                    f"allowed are r x {layer.in_features} and {layer.out_features} x r"
                )
            own = self._own[path]
            if bool(up[: own.start].any()) or bool(up[own.stop :].any()):
                raise ValueError(
                    f"directions of {name!r} on {path}: got some that change other columns of its "
                    f"output than {own.start} to {own.stop}, allowed are those"
                )

    def add_trainable(
        self,
        name: str,
        rank: int,
        generator: torch.Generator,
        start: Directions | None = None,
    ) -> None:
        """Append an adapter that trains from `start`, or without effect: A uniform and B zero.

        All adapters of the bank now train. The directions are fp32 whatever the denoiser's
        precision, so that small steps are not lost. Raises ValueError for a start of another rank.
        """
        directions = {}
        for path, layer in self.layers.items():
            bound, device = 1 / math.sqrt(layer.in_features), self._device or layer.weight.device
            down = torch.rand(rank, layer.in_features, generator=generator) * 2 * bound - bound
            up = torch.zeros(layer.out_features, rank)
            if start is not None:
                down, up = start[path]
                if len(down) != rank:
                    raise ValueError(f"start of {name!r}: got rank {len(down)}, allowed is {rank}")
            up = up[self._own[path]]
            directions[path] = (down.float().to(device), up.float().to(device))
        self._append(name, directions, requires_grad=True)

    def up(self, path: str) -> Tensor:
        """Return the stacked B of a projection, out x R: what of it is a parameter trains."""
        own, width = self._own[path], self.layers[path].out_features
        return functional.pad(self.B[_key(path)], (0, 0, own.start, width - own.stop))

    def remove(self, name: str) -> None:
        """Unload an adapter. Raises ValueError that lists the loaded."""
        columns = _columns(self._ranks, name)
        keep = torch.ones(sum(self._ranks.values()), dtype=torch.bool)
        keep[columns] = False
        for path in self.projections:
            key = _key(path)
            self.A[key] = nn.Parameter(self.A[key].data[keep], self.A[key].requires_grad)
            self.B[key] = nn.Parameter(self.B[key].data[:, keep], self.B[key].requires_grad)
        del self._ranks[name]
        self._without = _keys_without_effect(self.B)

    def directions(self, name: str) -> dict[str, tuple[Tensor, Tensor]]:
        """Return a copy of an adapter's directions: projection -> (A: r x in, B: out x r)."""
        columns = _columns(self._ranks, name)
        return {
            path: (
                self.A[_key(path)].detach()[columns].clone(),
                self.up(path).detach()[:, columns].clone(),
            )
            for path in self.projections
        }

    def active_directions(
        self, gates_NK: Tensor, projections: Collection[str] | None = None
    ) -> ActiveDirections:
        """Return what N rows have switched on of K loaded adapters, for any number of `with`s.

        `projections` leaves the others of the bank alone. Raises ValueError for another number of
        columns.
        """
        if gates_NK.ndim != 2 or gates_NK.shape[1] != len(self._ranks):
            raise ValueError(
                f"gates: got shape {tuple(gates_NK.shape)}, "
                f"allowed is rows x {len(self._ranks)} adapters {self.names}"
            )
        ranks = torch.tensor(list(self._ranks.values()), dtype=torch.long)
        wanted = self.projections if projections is None else projections
        gates_NR = gates_NK.repeat_interleave(ranks.to(gates_NK.device), dim=1)
        return ActiveDirections(gates_NR, {_key(path) for path in wanted} - self._without)

    @contextmanager
    def gated(
        self, gates: Tensor | ActiveDirections, positions: Positions | None = None
    ) -> Iterator[None]:
        """Gate the adapters row by row inside the `with`: gates, N rows x K adapters, or their mix;
        `positions` are those at which the layers read the prompt, where these are not all.

        A layer may be called with the rows in parts, in their order. Raises ValueError for another
        number of columns, rows or positions, a `with` inside a `with`, or a closed bank;
        LayerNotReached at the end of the `with` where a switched-on layer has not seen every row.
        """
        if self._active is not None:
            raise ValueError("gates: already inside a `with bank.gated(...)`")
        active = gates if isinstance(gates, ActiveDirections) else self.active_directions(gates)
        if self._is_closed and active.num_active:
            raise ValueError("gates: the bank is closed, its adapters are off the denoiser")
        denoiser, self._active = self._owner[0], active
        seen = dict.fromkeys(active.keys if active.num_active else (), 0)
        uncompiled = torch.compiler.set_stance("force_eager") if seen else nullcontext()
        handles = []
        for path in self.projections:
            if _key(path) in seen:
                where = (positions or {}).get(path)
                for layer, columns in _called_for(denoiser, path, self._own[path]):
                    hook = self._hook(_key(path), columns, active, seen, where)
                    handles.append(layer.register_forward_hook(hook, prepend=True))
        try:
            with uncompiled:
                yield
        finally:
            self._active = None
            for handle in handles:
                handle.remove()
        _check_reached(denoiser, seen, active.num_rows)

    def follow(self, device: torch.device) -> None:
        """Move the directions to where the denoiser runs now."""
        if self._device != device:
            self._device = device
            self.to(device)

    def close(self) -> None:
        """Take the bank off the denoiser: it gates no more."""
        self._is_closed = True

    def _hook(
        self,
        key: str,
        columns: slice,
        active: ActiveDirections,
        seen: dict[str, int],
        where: TextPositions | None,
    ) -> Hook:
        """Return the forward hook of a layer, some columns of whose output are a projection's; it
        counts rows into `seen`.
        """

        def add_gated_directions(
            layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor
        ) -> Tensor:
            x, first = inputs[0], seen[key] % active.num_rows
            seen[key] += x.shape[0]
            if first + x.shape[0] > active.num_rows:
                raise ValueError(
                    f"gates: got {active.num_rows} rows, the denoiser's batch has "
                    f"{first + x.shape[0]} or more"
                )
            part = active.rows_of(first, first + x.shape[0])
            if part.start == part.stop:
                return output
            if output.requires_grad and output._is_view():  # of a quantised layer's own function
                output = output.clone()
            A_NIr, B_NrO = active.gather(key, self.A[key], self.B[key], output.dtype)
            among = slice(part.start - active.rows.start, part.stop - active.rows.start)
            rows = slice(part.start - first, part.stop - first)
            y = output[..., columns]
            if x.ndim == 2:
                x, y = x[:, None], y[:, None]
            x, y, mask = x[rows], y[rows], None
            if where is not None:
                where.check(key, active.num_rows, x.shape[1])
                mask = where.rows(part.start, part.stop)
                x, y = x[:, where.span], y[:, where.span]
            share = torch.bmm(x.to(output.dtype), A_NIr[among])
            if mask is not None:
                share = share * mask[..., None]
            if active.num_active == 1:  # an outer product, for which matmul is slow
                y.addcmul_(share, B_NrO[among])
            else:
                y.baddbmm_(share, B_NrO[among])
            return output

        return add_gated_directions

    def _append(self, name: str, directions: Directions, requires_grad: bool) -> None:
        if name in self._ranks:
            raise ValueError(
                f"name: got {name!r}, which is loaded already; loaded are {list(self._ranks)}"
            )
        for path, (down, up) in directions.items():
            key = _key(path)
            self.A[key] = nn.Parameter(torch.cat([self.A[key].data, down]), requires_grad)
            self.B[key] = nn.Parameter(torch.cat([self.B[key].data, up], dim=1), requires_grad)
        self._ranks[name] = next(iter(directions.values()))[0].shape[0]
        self._without = _keys_without_effect(self.B)


class LayerNotReached(RuntimeError):
    """A pass went past a layer that adapters act on: the picture would not be what was asked."""


def _columns(ranks: Mapping[str, int], name: str) -> list[int]:
    """Return where an adapter's directions stand among those of all."""
    if name not in ranks:
        raise ValueError(f"name: got {name!r}, loaded are {list(ranks)}")
    start = sum(list(ranks.values())[: list(ranks).index(name)])
    return list(range(start, start + ranks[name]))


def _zeros_for(layer: nn.Linear, device: torch.device | None) -> Callable[..., Tensor]:
    """Return a function that makes zeros of a shape where a layer runs, in its precision, or in
    fp32 where its weights are stored in less than they compute in.
    """
    dtype = layer.weight.dtype if layer.weight.dtype in COMPUTE_DTYPES else torch.float32
    return partial(torch.zeros, dtype=dtype, device=device or layer.weight.device)


def _keys_without_effect(B: nn.ParameterDict) -> set[str]:
    """Return the projections on which no adapter acts: queries, where keys and values learn."""
    return {key for key, up in B.items() if not up.requires_grad and not bool(up.any())}


def _check_reached(denoiser: nn.Module, seen: Mapping[str, int], num_rows: int) -> None:
    """Raise LayerNotReached unless each layer was called with all rows, once or more often."""
    missed = sorted(key for key, count in seen.items() if count == 0 or count % num_rows)
    if not missed:
        return
    path = missed[0].replace("/", ".")
    above = missed[0].rpartition("/")[0]
    is_skipped = not any(seen[key] for key in seen if key.rpartition("/")[0] == above)
    raise LayerNotReached(
        f"adapters: {len(missed)} of {len(seen)} adapted layers, such as {path}, have not seen "
        f"every row: {_reason(denoiser, path, is_skipped)}"
    )


def _reason(denoiser: nn.Module, path: str, is_skipped: bool) -> str:
    """Return why a pass has gone past a layer, and what to do; `is_skipped` says that none of its
    attention's layers was called.
    """
    if getattr(denoiser, "is_cache_enabled", False):
        return "a cache passes over blocks; call `disable_cache()` on the denoiser"
    if is_skipped:
        return "its whole block is passed over, as by a helper that caches; switch that off"
    attention = denoiser.get_submodule(path.rpartition(".")[0])
    processor = type(getattr(attention, "processor", None)).__name__
    return f"its attention goes past it ({processor}); allowed is what calls every projection"


def _called_for(denoiser: nn.Module, path: str, own: slice) -> Iterator[tuple[nn.Module, slice]]:
    """Yield the layers of which one is called for a projection, and which columns of its output
    adapters act on: its own, and one that diffusers has fused it with others into, which a UNet
    keeps when its processors no longer call it.
    """
    yield denoiser.get_submodule(path), own
    above, _, name = path.rpartition(".")
    attention = denoiser.get_submodule(above)
    for fused, parts in FUSED_LAYERS.items():
        if name in parts and (layer := getattr(attention, fused, None)) is not None:
            before = parts[: parts.index(name)]
            start = sum(_linear(getattr(attention, p), p).out_features for p in before)
            yield layer, slice(start + own.start, start + own.stop)


def _linear(layer: nn.Module, path: str) -> nn.Linear:
    layer = getattr(layer, "base_layer", layer)  # a LoRA that was loaded earlier wraps it
    if not isinstance(layer, nn.Linear):
        kind = type(layer).__name__
        raise ValueError(f"projections: got {path!r}, a {kind}, allowed are nn.Linear")
    return layer


def _key(path: str) -> str:
    """Parameter names hold no dots."""
    return path.replace(".", "/")
