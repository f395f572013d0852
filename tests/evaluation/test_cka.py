"""Linear CKA against another formula, and what it does not depend on."""

import pytest
import torch

from unlearn.evaluation.cka import compute_linear_cka


def test_linear_cka() -> None:
    """As the normalised Hilbert-Schmidt independence criterion of the Gram matrices."""
    random = torch.Generator().manual_seed(0)
    x, y = torch.randn(30, 5, generator=random), torch.randn(30, 7, generator=random)
    y[:, 0] = 3 * x[:, 0]
    centre = torch.eye(30).double() - 1 / 30
    gram = [centre @ f.double() @ f.double().T @ centre for f in (x, y)]
    independent = (gram[0] * gram[1]).sum() / (gram[0].norm() * gram[1].norm())
    assert compute_linear_cka(x, y) == pytest.approx(independent.item(), rel=1e-9)
    rotation = torch.linalg.qr(torch.randn(5, 5, generator=random))[0]
    assert compute_linear_cka(x, 4 * x @ rotation + 2) == pytest.approx(1, abs=1e-6)
    assert compute_linear_cka(x, x * torch.tensor([1.0, 9, 1, 1, 1])) < 0.9
    assert compute_linear_cka(x, torch.ones(30, 2)) == 0
