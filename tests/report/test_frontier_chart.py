"""The layout of the frontier's picture."""

import pytest

from unlearn.report.frontier_chart import legend_columns


@pytest.mark.parametrize(
    ("labels", "columns"),
    [
        (["gkt", "inversion", "regrow", "retrained models (shaded: 95% of them)"], 4),
        (["gkt, method.iterations=120"] * 3 + ["retrained models (shaded: 95% of them)"], 2),
        (["gkt, method.batch_norm=frozen, method.iterations=30"] * 5, 1),
    ],
)
def test_the_legend_fits_into_the_picture(labels: list[str], columns: int) -> None:
    assert legend_columns(labels) == columns
