"""The frontier: points, whiskers and the target against SciPy, and what the picture shows."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.helpers.paths import DOCS
from tests.helpers.synthetic import put, report
from unlearn.report.frontier import AGAINST, points, region, retrained
from unlearn.report.runs import load
from unlearn.report.svg import STYLES

SVG = "{http://www.w3.org/2000/svg}"
SHARES = (0, 0.6, 1)


def run(
    outputs: Path, steps: float, D_r: float, reference: tuple[float, float], **more: Any
) -> Path:
    """A run with these steps of relearning and D_r, beside a retrained model's."""
    counts = {"unlearned_steps": steps, "retrained_steps": reference[0]}
    counts |= {"ain": steps / reference[0], "censored": more.pop("censored", False)}
    kept = {"unlearned": D_r, "retrained": reference[1]}
    at = {f"accuracy.{name}.test.retain": value for name, value in kept.items()}
    return put(outputs, relearn=counts, at=at | more.pop("at", {}), **more)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Runs of two methods, three shares, two classes and four seeds, and what was put in."""
    outputs = tmp_path_factory.mktemp("frontier") / "outputs"
    random = np.random.default_rng(0)
    references = {
        (forget, seed): (float(random.uniform(10, 30)), float(random.uniform(96, 99)))
        for forget in (0, 1)
        for seed in range(4)
    }
    put_in: dict[Any, list[Any]] = {}
    for method in ("gkt", "inversion"):
        for share in SHARES:
            for (forget, seed), reference in references.items():
                steps, D_r = float(random.uniform(3, 40)), float(random.uniform(60, 98))
                config = {"method.name": method, "method.start": share}
                more = {"seed": seed, "forget": [forget], "config": config}
                run(outputs, steps, D_r, reference, **more)
                pair = (steps / reference[0], D_r - reference[1])
                put_in.setdefault((method, share), []).append(pair)
    return outputs, {"runs": put_in, "references": references}


def test_points_are_means_with_students_intervals(sweep: tuple[Path, dict[str, Any]]) -> None:
    outputs, known = sweep
    runs = load([outputs])
    for method in ("gkt", "inversion"):
        found = points(runs[runs["method"] == method], "method.start", AGAINST["AIN"])
        assert list(found.index) == ["0", "0.6", "1"]
        for share, at in zip(SHARES, found.itertuples(), strict=True):
            ain, apart = np.array(known["runs"][method, share]).T
            logs = np.log(ain)
            ends = stats.t.interval(0.95, 7, logs.mean(), stats.sem(logs))
            np.testing.assert_allclose(at.x, stats.gmean(ain))
            np.testing.assert_allclose([at.low, at.high], np.exp(ends))
            low, high = stats.t.interval(0.95, 7, apart.mean(), stats.sem(apart))
            np.testing.assert_allclose([at.difference, at.half], [apart.mean(), (high - low) / 2])
            assert not at.bound


def test_retrained_models_are_compared_with_their_peers(sweep: tuple[Path, Any]) -> None:
    outputs, known = sweep
    expected = []
    for (forget, seed), (steps, accuracy) in known["references"].items():
        others = [v for (f, s), v in known["references"].items() if f == forget and s != seed]
        mean_steps, mean_accuracy = np.mean(others, axis=0)
        expected.append((steps / mean_steps, accuracy - mean_accuracy))
    models = retrained(load([outputs]), AGAINST["AIN"])
    assert len(models) == 8  # not one a run
    found = sorted(zip(models["x"], models["difference"], strict=True))
    np.testing.assert_allclose(found, sorted(expected))
    target = region(models, AGAINST["AIN"])
    ain, apart = np.array(expected).T
    np.testing.assert_allclose(np.log(target.high), 1.96 * np.sqrt(np.mean(np.log(ain) ** 2)))
    np.testing.assert_allclose(target.margin, 1.96 * np.sqrt(np.mean(apart**2)))


def test_the_target_holds_95_percent_of_retrained_models() -> None:
    random, classes = np.random.default_rng(1), 2000
    models = pd.DataFrame(
        {
            "forget": np.repeat(range(classes), 5),
            "seed": np.tile(range(5), classes),
            "retrained D_r": random.normal(97, 0.5, 5 * classes) + np.repeat(range(classes), 5),
            "retrained relearn": 20 * np.exp(random.normal(0, 0.1, 5 * classes)),
        }
    ).assign(dataset="digits", model="lenet", status="complete", D_r=90.0, AIN=1.0, relearn=20.0)
    target = region(retrained(models, AGAINST["AIN"]), AGAINST["AIN"])
    # one more model of a class against the mean of four others
    one, others = random.normal(0, 1, 20_000), random.normal(0, 1, (4, 20_000)).mean(axis=0)
    held = np.quantile(abs(one - others), 0.95)
    assert target.margin == pytest.approx(0.5 * held, rel=0.03)
    assert np.log(target.high) == pytest.approx(0.1 * held, rel=0.03)


def test_models_of_different_networks_are_not_compared(tmp_path: Path) -> None:
    for width in (0.25, 1.0):
        for seed in (0, 1):
            at = {"config.model.width": width}
            run(tmp_path, 10, 90, (10 * width + seed, 97), seed=seed, at=at)
    ratios = sorted(retrained(load([tmp_path]), AGAINST["AIN"])["x"])
    np.testing.assert_allclose(ratios, sorted([2.5 / 3.5, 3.5 / 2.5, 10 / 11, 11 / 10]))


def test_of_many_values_some_get_a_label(tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    for number in range(100):
        run(outputs, 5 + number % 7, 90, (10, 97), config={"method.start": number / 1000})
    labels = [text for text in texts(drawn(outputs)) if re.fullmatch(r"0\.0\d\d?", text)]
    assert len(labels) == len(set(labels)) == 39  # and 0, which is not told from a tick
    assert {"0.002", "0.099"} <= set(labels)


def test_extreme_relearning_counts_are_drawn(tmp_path: Path) -> None:
    run(tmp_path, 0, 98, (10, 97), config={"method.start": 1})
    run(tmp_path, 200, 98, (10, 97), censored=True, config={"method.start": 0})
    found = points(load([tmp_path]), "method.start", AGAINST["AIN"])
    np.testing.assert_allclose(found["x"], [20, 0.05])
    assert list(found["bound"]) == [True, False]
    assert found[["low", "high", "half"]].isna().all(axis=None)
    assert region(retrained(load([tmp_path]), AGAINST["AIN"]), AGAINST["AIN"]) is None


def drawn(outputs: Path, *arguments: str) -> ElementTree.Element:
    target = outputs.parent / "frontier.svg"
    done = report("frontier", outputs, *arguments, "--output", target)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    return ElementTree.fromstring(target.read_text())


def texts(picture: ElementTree.Element) -> list[str]:
    return ["".join(text.itertext()) for text in picture.iter(f"{SVG}text")]


def markers(picture: ElementTree.Element, colour: str) -> list[tuple[float, float]]:
    """Where a colour's filled markers stand, in the order in which they were drawn."""
    return [
        (float(use.get("x", "nan")), float(use.get("y", "nan")))
        for use in picture.iter(f"{SVG}use")
        if f"fill: {colour}" in (use.get("style") or "").lower()
    ]


def frame(picture: ElementTree.Element) -> tuple[float, float, float, float]:
    """Left, bottom, right and top of the axes, in the picture's units, which count downwards."""
    (axes,) = (part for part in picture.iter(f"{SVG}g") if part.get("id") == "frontier-axes_1")
    path = next(axes.iter(f"{SVG}path")).get("d", "")
    x, y = np.array(re.findall(r"[-\d.]+", path), dtype=float).reshape(-1, 2).T
    return x.min(), y.max(), x.max(), y.min()


def test_points_are_drawn_in_place(sweep: tuple[Path, dict[str, Any]]) -> None:
    outputs, known = sweep
    picture = drawn(outputs, "--title", "Of digits & shares")
    assert {"Of digits & shares", "gkt", "inversion", *map(str, SHARES)} <= set(texts(picture))
    assert "Stars: 8 retrained models" in " ".join(texts(picture))
    places = {"#0072b2": "gkt", "#d55e00": "inversion"}
    seen, wanted = [], []
    for colour, method in places.items():
        spots = markers(picture, colour)[-4:]  # of them, the legend's is the first or the last
        means = [np.mean(known["runs"][method, share], axis=0) for share in SHARES]
        ratios = [stats.gmean(np.array(known["runs"][method, s])[:, 0]) for s in SHARES]
        assert len(spots) >= 3
        seen += spots[:3]
        wanted += [(np.log(r), m[1]) for r, m in zip(ratios, means, strict=True)]
    (x, y), (ain, apart) = np.array(seen).T, np.array(wanted).T
    left, bottom, right, top = frame(picture)
    assert left < x.min() < x.max() < right
    assert top < y.min() < y.max() < bottom
    # a logarithmic axis: pixels are a straight line in the logarithm; up is better
    assert apart.max() < -1  # D_r's axis is logarithmic there
    for at, logs in ((x, ain), (y, np.log(-apart))):  # SVG counts y downwards
        slope, _, match, *_ = stats.linregress(logs, at)
        assert slope > 0
        assert match > 0.99999


def test_the_picture_can_be_read_in_light_and_dark(sweep: tuple[Path, Any]) -> None:
    outputs, _ = sweep
    picture = drawn(outputs)
    text = ElementTree.tostring(picture, encoding="unicode")
    assert "prefers-color-scheme: dark" in text
    assert re.search(r'class="ground" width="100%" height="100%"', text)
    assert "currentColor" in text
    assert "#010203" not in text
    width = float(picture.get("width", "0").removesuffix("pt"))
    assert width == pytest.approx(600, abs=5)  # points: 800 pixels


def test_the_published_picture_is_that_of_its_records(tmp_path: Path) -> None:
    target, csvs = tmp_path / "again.svg", ("frontier.csv", "frontier_budget.csv")
    words = ["--rows", "method,method.iterations", "--against", "AIN,probe", "--output", target]
    assert report("frontier", *(DOCS / "results" / name for name in csvs), *words).stderr == ""
    published, again = (
        ElementTree.fromstring(path.read_text()) for path in (DOCS / "frontier.svg", target)
    )
    assert texts(again) == texts(published)
    for style in STYLES:
        found, expected = (markers(tree, style.colour.lower()) for tree in (again, published))
        np.testing.assert_allclose(found, expected, atol=2)


def test_the_page_has_the_frontier_where_the_key_varies(sweep: tuple[Path, Any]) -> None:
    outputs, _ = sweep
    target = outputs.parent / "report.html"
    keys = ["--rows", "method,method.start", "--columns", "forget"]
    assert report("page", outputs, *keys, "--output", str(target)).returncode == 0
    page = target.read_text()
    assert "<h2>Frontier of D_r and AIN</h2>" in page
    for forget in (0, 1):
        label = f"D_r against AIN along method.start forget={forget}"
        assert page.count(f'aria-label="{label}"') == 1
    done = report("page", outputs, *keys, "--where", "method.start=1", "--output", target)
    assert done.stderr == ""
    assert "<h2>Frontier of D_r and AIN</h2>" not in target.read_text()


def test_the_picture_lists_mixed_and_missing_runs(tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    for target in ("raw", "masked"):
        for seed in (0, 1):
            config = {"method.target": target, "method.start": 0.6}
            oracle = target == "raw"
            run(outputs, 10, 90, (10, 97), seed=seed, config=config, oracle=oracle)
    put(outputs, seed=5, status="failed", error="RunError: x")
    words = " ".join(texts(drawn(outputs)))
    assert "differ in method.target;" in words
    assert "1 of 5 runs failed, are unfinished or have no AIN: not drawn." in words
    assert "gkt†" in words
    assert "Oracle†: in 2 runs" in words


def test_the_lines_of_runs_make_the_same_picture(sweep: tuple[Path, Any], tmp_path: Path) -> None:
    outputs, _ = sweep
    lines, target = tmp_path / "runs.csv", tmp_path / "again.svg"
    first = ElementTree.tostring(drawn(outputs, "--runs-csv", str(lines)))
    assert report("frontier", lines, "--output", target).returncode == 0
    assert ElementTree.tostring(ElementTree.fromstring(target.read_text())) == first


def probed(outputs: Path) -> dict[str, list[float]]:
    """Two shares, two classes, three seeds, each with a probe; by share, what was put in."""
    random, put_in = np.random.default_rng(3), dict[str, list[float]]()
    for seed in range(3):
        for forget in (0, 1):
            theirs = float(random.uniform(60, 70))
            for share in (0, 1):
                ours = float(random.uniform(70, 90))
                scores = {"unlearned": [50.0, ours], "retrained": [50.0, theirs]}
                probe = scores | {"penultimate": ours - theirs}
                start = {"method.start": share}
                more = {"seed": seed, "forget": [forget], "config": start, "probe": probe}
                run(outputs, 10, 96, (10, 97), **more)
                put_in.setdefault(str(share), []).append(ours - theirs)
    return put_in


def test_the_probe_in_place_of_relearning(tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    put_in = probed(outputs)
    runs, against = load([outputs]), AGAINST["probe"]
    found = points(runs, "method.start", against)
    for share, values in put_in.items():
        low, high = stats.t.interval(0.95, 5, np.mean(values), stats.sem(values))
        at = found.loc[share]
        np.testing.assert_allclose([at["x"], at["low"], at["high"]], [np.mean(values), low, high])
    models = retrained(runs, against)
    scores = runs.groupby(["forget", "seed"])["retrained probe score"].first().unstack(0)
    expected = 1.5 * (scores - scores.mean())  # of three: against the mean of the other two
    np.testing.assert_allclose(sorted(models["x"]), sorted(expected.to_numpy().ravel()))
    target = region(models, against)
    held = 1.96 * np.sqrt(np.mean(expected.to_numpy() ** 2))
    np.testing.assert_allclose([target.low, target.high], [-held, held])
    picture = drawn(outputs, "--against", "AIN,probe")
    assert {AGAINST["AIN"].label, AGAINST["probe"].label} <= set(texts(picture))


def test_runs_without_ain_make_no_frontier(tmp_path: Path) -> None:
    put(tmp_path, relearn={"unlearned_steps": None, "retrained_steps": None, "ain": None})
    done = report("frontier", tmp_path, "--output", str(tmp_path / "f.svg"))
    assert done.returncode == 2
    assert "no complete run has D_r and AIN" in done.stderr
