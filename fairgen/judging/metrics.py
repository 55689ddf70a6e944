"""Fairness, preservation and diversity: plain functions on class counts, probabilities, pictures
and the judge's image features.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from scipy.spatial.distance import pdist
from torch import Tensor, nn

# torchmetrics comes in where it is used: with it come transformers and matplotlib, seconds of them

Array = NDArray[np.float64]

PSNR_CAP_DB = 100.0


def class_shares(labels: Sequence[int], num_classes: int) -> Array:
    """Return the share of each class among hard labels, shape C; raises ValueError when there are
    none.
    """
    if not len(labels):
        raise ValueError("labels: got none, at least one picture is needed")
    return np.bincount(np.asarray(labels), minlength=num_classes) / len(labels)


def fairness_discrepancy(
    target_C: Sequence[float] | Array, shares_C: Sequence[float] | Array
) -> float:
    """Return FD, the Euclidean distance between the prescribed and the delivered distribution (0 is
    fair).

    With the shares of hard labels this is the hard FD, with the mean class probabilities the soft
    FD. Source: the
    metric of arXiv 2412.18810, section 4 (evaluation).
    """
    return float(np.linalg.norm(np.asarray(target_C, float) - np.asarray(shares_C, float)))


def deviation_ratio(shares_C: Sequence[float] | Array) -> float:
    """Return DevRat = max_c |share_c - 1/C| / (1 - 1/C): 0 is uniform, 1 is one class only."""
    shares = np.asarray(shares_C, float)
    even = 1 / len(shares)
    return float(np.abs(shares - even).max() / (1 - even))


def parity_gap(shares_C: Sequence[float] | Array) -> float:
    """Return the largest minus the smallest share: 0 is uniform, 1 is one class only."""
    return float(np.ptp(np.asarray(shares_C, float)))


def kl_divergence(target_C: Sequence[float] | Array, shares_C: Sequence[float] | Array) -> float:
    """Return KL(delivered || prescribed) in nats: 0 is fair, infinite where a category is delivered
    that is prescribed none.
    """
    return float(stats.entropy(np.asarray(shares_C, float), np.asarray(target_C, float)))


def sampling_floor(
    target_C: Sequence[float] | Array, num_images: int, trials: int = 4000, seed: int = 0
) -> float:
    """Return the mean FD of a perfect i.i.d. sampler of `num_images` pictures: a fair coin
    does not get below it.
    """
    target = np.asarray(target_C, float)
    counts = np.random.default_rng(seed).multinomial(num_images, target / target.sum(), size=trials)
    return float(np.linalg.norm(counts / num_images - target, axis=1).mean())


def drift_floor(
    shares_C: Sequence[float] | Array, num_images: int, trials: int = 4000, seed: int = 0
) -> float:
    """Return the mean distance between the shares of two independent samples of `num_images` from
    one distribution: what even an unchanged model drifts by under other seeds.
    """
    shares = np.asarray(shares_C, float)
    one, other = np.random.default_rng(seed).multinomial(
        num_images, shares / shares.sum(), size=(2, trials)
    )
    return float(np.linalg.norm((one - other) / num_images, axis=1).mean())


def mean_counted(values: Iterable[float | None]) -> float:
    """Return the mean of figures of several prompts, without those that are None: in such a prompt
    the judge abstained on every picture. Raises ValueError where it did in all of them.
    """
    known = [value for value in values if value is not None]
    if not known:
        raise ValueError("judge: it abstained on every picture of every prompt, one must count")
    return sum(known) / len(known)


def confusion_counts(asked: Sequence[int], seen: Sequence[int], num_classes: int) -> Array:
    """Return pictures, C x C: row = category asked of the adapter, column = category the judge
    saw.
    """
    counts = np.zeros((num_classes, num_classes))
    np.add.at(counts, (np.asarray(asked, int), np.asarray(seen, int)), 1)
    return counts


def similarity(pictures: Tensor, others: Tensor) -> Tensor:
    """Return SSIM pair by pair, shape N; both batches are N x 3 x H x W in [0, 1]."""
    from torchmetrics.functional.image import structural_similarity_index_measure

    values = structural_similarity_index_measure(pictures, others, data_range=1.0, reduction="none")
    assert isinstance(values, torch.Tensor)
    return values


def psnr(pictures: Tensor, others: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio in dB pair by pair, shape N; both batches are
    N x 3 x H x W in [0, 1].

    Values are capped at 100 dB: identical pictures would give infinity, and no mean over pictures.
    """
    from torchmetrics.functional.image import peak_signal_noise_ratio

    values = peak_signal_noise_ratio(
        pictures, others, data_range=1.0, reduction="none", dim=(1, 2, 3)
    )
    return values.clamp(max=PSNR_CAP_DB)


def cosines(features_ND: Tensor, others_ND: Tensor) -> Tensor:
    """Return the cosine of each row with the same row of the others, shape N.

    On CLIP's image features this is the CLIP-I of arXiv 2208.12242.
    """
    return nn.functional.cosine_similarity(features_ND, others_ND, dim=1)


def mean_pairwise_distance(features_ND: Tensor) -> float:
    """Return the mean of 1 - cosine over all pairs of rows, the diversity within a set: 0 for
    copies of one picture.

    Raises ValueError for fewer than two rows.
    """
    _require_two_rows("features_ND", features_ND)
    return float(pdist(features_ND.numpy(), "cosine").mean())


def frechet_distance(features: Tensor, real_features: Tensor) -> float:
    """Return the squared Fréchet distance of two Gaussians fitted to N x D and M x D features.

    It is the FID of whichever network gave the features, biased upwards for few rows: compare
    systems at equal N. Raises ValueError for fewer than two rows. Source: arXiv 1706.08500,
    equation 6.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance

    _require_two_rows("features", features)
    _require_two_rows("real_features", real_features)
    distance = FrechetInceptionDistance(
        nn.Identity(), input_img_size=(1, 1, real_features.shape[1])
    )
    distance.update(features.double(), real=False)
    distance.update(real_features.double(), real=True)
    return float(distance.compute())


def kernel_distance(
    features: Tensor,
    real_features: Tensor,
    num_subsets: int = 100,
    subset_size: int = 100,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the mean and standard deviation, over random subsets of the rows, of the squared MMD
    between N x D and M x D features under the kernel (x.y / D + 1)^3.

    It is the KID of whichever network gave the features, unbiased at any subset size, so that equal
    distributions give values on either side of 0. Raises ValueError unless `subset_size` is at
    least 2 and at most N and M. Source: arXiv 1801.01401, section 4.
    """
    from torchmetrics.image.kid import poly_mmd

    most = min(len(features), len(real_features))
    if not 2 <= subset_size <= most:
        raise ValueError(f"subset_size: got {subset_size}, allowed are 2 to {most}")
    generator = torch.Generator().manual_seed(seed)

    def subset(rows: Tensor) -> Tensor:
        return rows[torch.randperm(len(rows), generator=generator)[:subset_size]].double()

    values = torch.stack(
        [poly_mmd(subset(real_features), subset(features)) for _ in range(num_subsets)]
    )
    return float(values.mean()), float(values.std(correction=0))


def _require_two_rows(name: str, features: Tensor) -> None:
    if len(features) < 2:
        raise ValueError(f"{name}: got {len(features)} rows, at least 2 are needed")
