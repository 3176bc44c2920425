"""Figures on small synthetic tables: they draw, say the same thing in the same bytes, and stay readable in grey."""

from __future__ import annotations

import re
import warnings
import xml.etree.ElementTree as ElementTree
from itertools import combinations, pairwise, product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from qnn_robustness.common import registry
from qnn_robustness.common.code_hash import closure
from qnn_robustness.evaluation.statistics import wilson
from qnn_robustness.figures.shared import panels, style

FIGURES = [name for name in registry.names("figures") if name != "examples"]  # which shows samples, not numbers
ROBUST = ("robust_accuracy",)
TARGETS = {"float32": ["tensorflow"], "int16": ["reference"], "int8": ["reference", "xnnpack"]}


def share(correct: int, samples: int = 200) -> dict[str, float]:
    low, high = wilson(correct, samples)
    return {"samples": samples, "accuracy": correct / samples, "ci_low": low, "ci_high": high}


def robust_accuracy(trainings: int = 2, budgets: int = 3, targets: int = 3, minimal: bool = True) -> pd.DataFrame:
    """Return a table of PGD at some budgets behind two preprocessors, and of DeepFool."""
    rows = []
    attacks = [("pgd_linf", "linf", 2.0**i / 255) for i in range(budgets)]
    attacks += [("deepfool_l2", "l2", np.nan)] if minimal else []
    names = [(target, kernels) for target in list(TARGETS)[:targets] for kernels in TARGETS[target]]
    for t, (target, kernels), (attack, norm, budget), preprocessor in product(
        range(trainings), names, attacks, ("none", "bits")
    ):
        correct = int(180 - 30 * np.nan_to_num(budget * 255) / 2 ** max(budgets - 1, 0) + 3 * t)
        rows.append(
            {
                "model": "net", "training": f"training_{t}", "source": "float32", "target": target,
                "kernels": kernels, "attack": attack, "norm": norm, "budget": budget, "preprocessor": preprocessor,
                "seed": 0, **share(correct), "success_rate": 1 - correct / 200, "median_distortion": 0.5,
                "q1_distortion": 0.4, "q3_distortion": 0.7,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def clean_accuracy(trainings: int = 2) -> pd.DataFrame:
    rows = [
        {"model": "net", "training": f"training_{t}", "preprocessor": "none", "precision": precision,
         "kernels": kernels, **share(190 - t), "ties": 0.0}
        for t in range(trainings)
        for precision, sets in TARGETS.items()
        for kernels in sets
    ]  # fmt: skip
    return pd.DataFrame(rows)


def worst_case(budgets: int = 3) -> pd.DataFrame:
    table = robust_accuracy(budgets=budgets, minimal=False)
    return table.drop(columns=["source", "attack", "seed"]).assign(attacks=2, levels=table["budget"] * 255)


def defenses(budgets: int = 3) -> pd.DataFrame:
    parts = ("static", "transfer", "adaptive", "worst")
    return pd.concat([worst_case(budgets).assign(part=part, masked=part == "worst", reason="") for part in parts])


def gradient_magnitudes() -> pd.DataFrame:
    shares = {-np.inf: 0.2, -9.0: 0.1, -2.0: 0.4, 1.0: 0.3}
    rows = [
        {"model": "net", "training": training, "loss": loss, "estimator": estimator, "precision": precision,
         "samples": 200, "decade": decade, "share": share}
        for training, loss, (precision, estimator), (decade, share) in product(
            ("standard", "hardened"),
            ("margin", "cross_entropy"),
            (("float32", "autodiff"), ("int8", "straight_through"), ("int8", "one_level")),
            shares.items(),
        )
    ]  # fmt: skip
    return pd.DataFrame(rows)


def gradient_alignment() -> pd.DataFrame:
    spread = {f"{measure}{part}": 0.5 + shift for measure in ("cosine", "sign_agreement")
              for part, shift in (("", 0), ("_low", -0.05), ("_high", 0.05), ("_q1", -0.1), ("_q3", 0.1))}  # fmt: skip
    rows = [
        {"model": "net", "training": training, "loss": loss, "first": "float32", "second": second, "samples": 200,
         **spread, "compared": 1.0}
        for training, loss, second in product(
            ("standard", "hardened"), ("margin", "cross_entropy"), ("int8", "one level away")
        )
    ]  # fmt: skip
    return pd.DataFrame(rows)


def quantization_shift() -> pd.DataFrame:
    rows = [
        {"model": "net", "training": training, "direction": direction, "size": size / 255, "network": network,
         "place": place, "layer": f"{place} CONV_2D", "samples": 200, "vanished": float(size < 1 and "int8" in network),
         "snr_median": np.inf if size < 1 and "int8" in network else 30.0 - 5 * place}
        for training, direction, size, network, place in product(
            ("standard", "hardened"), ("gradient", "random"), (0.25, 4), ("float32", "int8 input", "int8"), range(4)
        )
    ]  # fmt: skip
    return pd.DataFrame(rows)


def boundary_distance(samples: int = 200) -> pd.DataFrame:
    random = np.random.default_rng(0)
    rows = [
        {"model": "net", "training": training, "lattice": "uint8", "norm": norm, "sample": sample, "attacks": 2,
         "float32": random.uniform(), "int8": np.inf if sample == 3 else random.uniform(0, 2)}
        for training, norm, sample in product(("standard", "hardened"), ("l2", "linf"), range(samples))
    ]  # fmt: skip
    return pd.DataFrame(rows)


def boundary_distance_tests() -> pd.DataFrame:
    rows = [
        {"model": "net", "training": training, "lattice": "uint8", "norm": norm, "first": "float32", "second": "int8",
         "samples": 200, "difference": 0.5, "difference_low": 0.4, "difference_high": 2.5}
        for training, norm in product(("standard", "hardened"), ("l2", "linf"))
    ]  # fmt: skip
    return pd.DataFrame(rows)


def loss_surfaces() -> pd.DataFrame:
    steps = np.linspace(-8, 8, 5) / 255
    rows = [
        {"model": "net", "training": "standard", "sample": sample, "precision": precision, "along_gradient": x,
         "along_random": y, "margin": 255 * x - 2 + sample}
        for sample, precision, x, y in product(range(2), ("float32", "int8"), steps, steps)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def transfer(rates: tuple[float, ...] = (0.1, 0.55, 0.9)) -> tuple[pd.DataFrame, pd.DataFrame]:
    settings = product(("standard", "hardened"), rates, ("cosine", "gain", "distance"))
    areas, bins = [], []
    for training, rate, explanation in settings:
        row = {"model": "net", "training": training, "source": "float32", "target": "int8", "attack": "pgd_linf",
               "budget": rate / 255, "explanation": explanation}  # fmt: skip
        areas.append(row | {"samples": 200, "successes": int(200 * rate), "auc": 0.7, "auc_low": 0.6, "auc_high": 0.8})
        bins += [
            row | {"bin": i, "samples": 50, "success_rate": rate, "ci_low": rate - 0.05, "ci_high": rate + 0.05}
            for i in range(1, 5)
        ]
    return pd.DataFrame(areas), pd.DataFrame(bins)


def cost_and_robustness(budgets: int = 3) -> pd.DataFrame:
    table = worst_case(budgets).rename(columns={"target": "precision"})
    table = table[(table["precision"] != "float32") & (table["kernels"] == "reference")]
    work, front = 12.5e6 + 1e6 * (table["preprocessor"] != "none"), table["training"] == "training_0"
    return table.assign(work=work, pareto=front, adaptive=True, masked=None)


def detection_roc(samples: int = 200) -> pd.DataFrame:
    rows = [
        {"model": "net", "training": "standard", "source": "float32", "attack": "pgd_linf", "detector": "squeezing",
         "target": target, "kernels": TARGETS[target][0], "norm": "linf", "budget": budget / 255, "seed": 0,
         "samples": samples, "false_positive_rate": share, "detection_rate": share**0.5}
        for target, budget, share in product(TARGETS, (1, 8), np.linspace(0, 1, 5))
    ]  # fmt: skip
    return pd.DataFrame(rows)


def detection() -> pd.DataFrame:
    attacks = (("pgd_linf", "none"), ("evading", "squeezing"))
    rows = [
        {"model": "net", "training": "standard", "source": target, "attack": attack, "through": through,
         "detector": "squeezing", "target": target, "kernels": TARGETS[target][0], "norm": "linf",
         "budget": budget / 255, "seed": 0, "samples": 300, "accuracy": 0.1, "ci_low": 0.0, "ci_high": 0.2,
         "successes": 200, "detection_rate": 0.5, "detection_low": 0.4, "detection_high": 0.6}
        for target, (attack, through), budget in product(TARGETS, attacks, (1, 8))
    ]  # fmt: skip
    return pd.DataFrame(rows)


TABLES = {
    "quantization_shift": quantization_shift(),
    "boundary_distance": boundary_distance(),
    "boundary_distance_tests": boundary_distance_tests(),
    "loss_surfaces": loss_surfaces(),
    **dict(zip(("transfer_explained", "transfer_bins"), transfer(), strict=True)),
    "robust_accuracy": robust_accuracy(),
    "clean_accuracy": clean_accuracy(),
    "worst_case": worst_case(),
    "defenses": defenses(),
    "gradient_magnitudes": gradient_magnitudes(),
    "gradient_alignment": gradient_alignment(),
    "cost_and_robustness": cost_and_robustness(),
    "detection": detection(),
    "detection_roc": detection_roc(),
}


def draw(name: str, **tables: pd.DataFrame) -> Figure:
    module = registry.load("figures", name)
    given = {**TABLES, **tables}
    return module.draw({table: given[table].copy() for table in module.TABLES})


def svg(figure: Figure, path: Path) -> bytes:
    style.save(figure, path)
    return path.read_bytes()


def texts(figure: Figure, path: Path) -> list[str]:
    """Return the texts of a figure as a reader of its SVG sees them."""
    root = ElementTree.fromstring(svg(figure, path))
    return [" ".join("".join(node.itertext()).split()) for node in root.iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_names_the_table_it_draws(name: str) -> None:
    """The workflow relies on it: first the table of its own name, or the robust accuracies of experiments."""
    tables = registry.load("figures", name).TABLES
    assert tables == ROBUST or tables[0] == name


@pytest.mark.parametrize("name", FIGURES)
def test_equal_tables_give_equal_bytes_without_date(name: str, tmp_path: Path) -> None:
    first, second = (svg(draw(name), tmp_path / f"{i}.svg") for i in range(2))
    assert first == second
    assert not re.search(rb"\d{4}-\d\d-\d\dT", first)


def test_a_png_has_equal_bytes_too(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.png" for i in range(2)]
    for path in paths:
        style.save(draw("distortion"), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize("name", FIGURES)
def test_text_is_text_and_large_enough(name: str, tmp_path: Path) -> None:
    figure = draw(name)
    root = ElementTree.fromstring(svg(figure, tmp_path / "figure.svg"))
    sizes = [
        float(size)
        for node in root.iter("{http://www.w3.org/2000/svg}text")
        for size in re.findall(r"([\d.]+)px", node.get("style", ""))
    ]
    assert len(sizes) > 5
    assert min(sizes) >= style.SMALLEST_FONT


@pytest.mark.parametrize("name", [name for name in FIGURES if name != "loss_surfaces"])  # of single samples
def test_the_number_of_samples_is_shown(name: str, tmp_path: Path) -> None:
    assert any(re.search(r"n = 200\b", text) for text in texts(draw(name), tmp_path / "figure.svg"))


@pytest.mark.parametrize("name", FIGURES)
def test_degenerate_tables_are_drawn(name: str, tmp_path: Path) -> None:
    small = robust_accuracy(trainings=1, budgets=1, targets=1)
    missing = robust_accuracy()
    missing[["median_distortion", "q1_distortion", "q3_distortion", "success_rate"]] = np.nan
    only_minimal = robust_accuracy(budgets=0)
    only_budgets = robust_accuracy(minimal=False)
    reads_them = "robust_accuracy" in registry.load("figures", name).TABLES
    for i, table in enumerate((small, missing, only_minimal, only_budgets) if reads_them else (small,)):
        figure = draw(
            name,
            robust_accuracy=table,
            clean_accuracy=clean_accuracy(1),
            worst_case=worst_case(1),
            defenses=defenses(1),
            cost_and_robustness=cost_and_robustness(1),
        )
        assert svg(figure, tmp_path / f"{i}.svg").startswith(b"<?xml")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("robustness_against_budget", "No attack with a budget was run."),
        ("defenses", "No attack with an L∞ budget was run."),
    ],
)
def test_a_figure_without_rows_says_why(name: str, text: str, tmp_path: Path) -> None:
    figure = draw(name, robust_accuracy=robust_accuracy(budgets=0), defenses=defenses().iloc[:0])
    assert texts(figure, tmp_path / "figure.svg") == [text]


def test_detection_tells_attacks_that_failed_from_those_that_were_not_run(tmp_path: Path) -> None:
    transferred = detection().assign(source="float32").query("target != 'float32'")
    figures = [draw("detection", detection=table) for table in (transferred, detection().assign(successes=0))]
    said = [texts(figure, tmp_path / "figure.svg") for figure in figures]
    assert said == [
        ["No attack with an L∞ budget was made on a watched network itself."],
        ["No attack succeeded: there is nothing to detect."],
    ]


def test_points_and_intervals_are_those_of_the_table() -> None:
    table = robust_accuracy(trainings=1, minimal=False)
    figure = draw("robustness_against_budget", robust_accuracy=table)
    line = figure.axes[0].containers[0]
    rows = table[(table["target"] == "float32") & (table["preprocessor"] == "none")].sort_values("budget")
    assert line.lines[0].get_ydata() == pytest.approx(100 * rows["accuracy"].to_numpy())
    ends = np.array([segment[:, 1] for segment in line.lines[2][0].get_segments()])
    assert ends == pytest.approx(100 * rows[["ci_low", "ci_high"]].to_numpy())


@pytest.mark.parametrize(("name", "attack"), [("detection", "evading"), ("detection_roc", "pgd_linf")])
def test_every_attack_on_a_detector_is_drawn_with_its_own_first_seed(name: str, attack: str, tmp_path: Path) -> None:
    table = TABLES[name]
    one = table[table["attack"] == attack]
    later = pd.concat([table.assign(attack="other"), one.assign(seed=4), one.assign(seed=7, detection_rate=0.9)])
    drawn = texts(draw(name, **{name: later}), tmp_path / "figure.svg")
    assert any(attack in text for text in drawn)
    assert svg(draw(name, **{name: later}), tmp_path / "a.svg") == svg(
        draw(name, **{name: later[later["seed"] != 7]}), tmp_path / "b.svg"
    )


def test_a_legend_of_many_lines_leaves_room_for_a_single_row() -> None:
    table = robust_accuracy(trainings=1, budgets=0)
    table.loc[table.index[:2], "success_rate"] = 0.1  # hollow: a line more
    figure = draw("distortion", robust_accuracy=table)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # "axes sizes collapsed to zero"
        figure.draw_without_rendering()
    (axes,) = figure.axes
    assert axes.bbox.height / figure.dpi > 0.3
    legend = figure.legends[0].get_window_extent()
    assert legend.y0 > axes.bbox.y1


@pytest.mark.parametrize("name", FIGURES)
def test_no_point_or_interval_is_cut_off(name: str, tmp_path: Path) -> None:
    """Networks differ much here: shared axes have to hold all of them."""
    table = robust_accuracy()
    far = table["training"] == "training_1"
    table.loc[far, ["median_distortion", "q1_distortion", "q3_distortion"]] *= 10
    figure = draw(name, robust_accuracy=table)
    svg(figure, tmp_path / "figure.svg")
    for axes in figure.axes:
        (left, right), (bottom, top) = sorted(axes.get_xlim()), sorted(axes.get_ylim())
        for container in axes.containers:
            line, _, bars = container.lines
            points = [line.get_xydata(), *(end for bar in bars for end in bar.get_segments())]
            for x, y in np.concatenate(points):
                assert left <= x <= right
                assert bottom <= y <= top


@pytest.mark.parametrize("share_right", [0.0, 1.0])
def test_markers_at_both_ends_are_whole(share_right: float, tmp_path: Path) -> None:
    table = robust_accuracy(minimal=False).assign(accuracy=share_right, ci_low=share_right, ci_high=share_right)
    figure = draw("robustness_against_budget", robust_accuracy=table)
    svg(figure, tmp_path / "figure.svg")
    for axes in figure.axes:
        at = axes.transData.transform((0, 100 * share_right))[1]
        radius = np.sqrt(0.5) * (style.SETTINGS["lines.markersize"] + 1) * figure.dpi / 72  # of a diamond with its edge
        assert axes.bbox.y0 + radius < at < axes.bbox.y1 - radius


def test_distortion_names_the_network_and_explains_hollow_markers_where_there_are_any(tmp_path: Path) -> None:
    """Rows name the networks where there are several."""
    table = robust_accuracy(trainings=1)
    shown = texts(draw("distortion", robust_accuracy=table.assign(success_rate=0.6)), tmp_path / "one.svg")
    assert "net, training_0" in shown
    assert not any("hollow" in text for text in shown)
    several = pd.concat([table.assign(success_rate=0.4), table.assign(model="other")])
    shown = texts(draw("distortion", robust_accuracy=several), tmp_path / "several.svg")
    assert {"training_0", "hollow: fewer than half succeed"} <= set(shown)


def test_a_single_column_of_panels_is_broken_into_lines(tmp_path: Path) -> None:
    one = robust_accuracy(trainings=1, minimal=False)
    one = one[one["preprocessor"] == "none"]
    table = pd.concat([one.assign(attack=f"attack_{number}") for number in range(5)])
    figure = draw("robustness_against_budget", robust_accuracy=table)
    svg(figure, tmp_path / "figure.svg")
    titles = [axes.get_title().splitlines()[-1] for axes in figure.axes]
    assert titles == [f"attack_{number} from float32" for number in range(5)]
    corners = [(round(axes.get_position().x0, 2), round(axes.get_position().y1, 2)) for axes in figure.axes]
    assert len({x for x, _ in corners}) == 3
    assert corners == sorted(corners, key=lambda corner: (-corner[1], corner[0])), "read line by line"
    named = [bool(axes.get_ylabel()) for axes in figure.axes]
    assert named == [x == min(corners)[0] for x, _ in corners]


def test_labels_of_many_budgets_do_not_overlap(tmp_path: Path) -> None:
    one = robust_accuracy(trainings=1, budgets=1, minimal=False)
    fine = pd.concat([one.assign(budget=number / 10_000) for number in range(1, 13)])
    table = pd.concat([fine.assign(attack=f"attack_{number}") for number in range(4)])
    figure = draw("robustness_against_budget", robust_accuracy=table)
    svg(figure, tmp_path / "figure.svg")
    boxes = [label.get_window_extent() for label in figure.axes[-1].get_xticklabels()]
    assert len(boxes) == 12
    assert not any(first.overlaps(second) for first, second in combinations(boxes, 2))


def test_tick_labels_do_not_overlap(tmp_path: Path) -> None:
    figure = draw("transfer_matrix")
    svg(figure, tmp_path / "figure.svg")
    boxes = [label.get_window_extent() for label in figure.axes[0].get_xticklabels()]
    assert len(boxes) == 3
    assert not any(first.overlaps(second) for first, second in combinations(boxes, 2))


def test_an_integer_network_is_shown_under_its_own_attacks_and_those_of_float32() -> None:
    transferred = robust_accuracy(trainings=1)
    others = [transferred.assign(source="int8", accuracy=0.25), transferred.assign(source="int16", accuracy=0.5)]
    figure = draw("white_box_against_transfer", robust_accuracy=pd.concat([transferred, *others]))
    own = {axis.get_title().splitlines()[-1]: [line.get_ydata() for line in axis.get_lines()] for axis in figure.axes}
    assert set(own) == {"int16", "int8"}
    for target, share_of_own in (("int8", 25), ("int16", 50)):
        lines = [list(values) for values in own[target] if len(values) == 3]
        assert [share_of_own] * 3 in lines
        assert [25 + 50 - share_of_own] * 3 not in lines  # the other integer network's samples


@pytest.mark.parametrize("norm", style.NORM_LABELS)
def test_labels_of_budgets_stay_in_the_figure(norm: str) -> None:
    table = robust_accuracy(trainings=1, minimal=False).assign(norm=norm, samples=10_000)
    figure = draw("white_box_against_transfer", robust_accuracy=table)
    figure.draw_without_rendering()
    boxes = [axes.xaxis.label.get_window_extent() for axes in figure.axes]
    assert len(boxes) == 2
    assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes)
    assert not boxes[0].overlaps(boxes[1])


def test_budgets_are_labelled_in_levels(tmp_path: Path) -> None:
    table = robust_accuracy(minimal=False).round(6)  # as the six digits of a CSV
    found = texts(draw("robustness_against_budget", robust_accuracy=table), tmp_path / "figure.svg")
    assert {"1", "2", "4"} <= set(found)
    assert any("L∞ budget (levels of 1/255)" in text for text in found)


def several_defenses() -> pd.DataFrame:
    """Return worst cases of three defenses whose accuracies, attacks and numbers of samples differ."""
    table = worst_case()[lambda table: (table["preprocessor"] == "none") | (table["training"] == "training_0")]
    bits, hardened = table["preprocessor"] == "bits", table["training"] == "training_1"
    table.loc[bits, "attacks"] = 5
    for column in ("accuracy", "ci_low", "ci_high"):
        table.loc[bits, column] *= 0.5
        table.loc[table["target"] == "int8", column] *= 0.9
    table.loc[hardened, "samples"] = 100
    return table


def drawn_lines(axes: Axes, figure: Figure) -> dict[str, ErrorbarContainer]:
    """Return the lines with intervals of a panel by the name that the legend gives to their look."""
    (legend,) = figure.legends
    names = {
        (line.get_color(), line.get_marker()): text.get_text()
        for line, text in zip(legend.get_lines(), legend.get_texts(), strict=True)
    }
    return {names[box.lines[0].get_color(), box.lines[0].get_marker()]: box for box in axes.containers}


def test_defenses_are_compared_in_one_panel_for_each_precision() -> None:
    table = several_defenses()
    figure = draw("worst_case", worst_case=table)
    targets = {axes.get_title().splitlines()[0].removeprefix("net, ").split(" (")[0]: axes for axes in figure.axes}
    assert list(targets) == ["float32", "int16", "int8"]
    names = {
        "training_0, worst of 2, n = 200": ("training_0", "none"),
        "training_0, bits, worst of 5, n = 200": ("training_0", "bits"),
        "training_1, worst of 2, n = 100": ("training_1", "none"),
    }
    for target, axes in targets.items():
        lines = drawn_lines(axes, figure)
        assert list(lines) == list(names)
        for name, (training, preprocessor) in names.items():
            of_defense = (table["training"] == training) & (table["preprocessor"] == preprocessor)
            rows = table[of_defense & (table["target"] == target) & (table["kernels"] == TARGETS[target][0])]
            line, _, (bars,) = lines[name].lines
            assert line.get_ydata() == pytest.approx(100 * rows["accuracy"].to_numpy())
            ends = np.array([segment[:, 1] for segment in bars.get_segments()])
            assert ends == pytest.approx(100 * rows[["ci_low", "ci_high"]].to_numpy())


def test_defenses_that_met_few_attacks_have_hollow_markers() -> None:
    few, many = several_defenses(), worst_case()
    for table, hollow in ((few, ["training_0, worst of 2", "training_1, worst of 2"]), (many, [])):
        figure = draw("worst_case", worst_case=table.assign(samples=200))
        for axes in figure.axes:
            lines = drawn_lines(axes, figure)
            assert [name for name, box in lines.items() if box.lines[0].get_markerfacecolor() == "white"] == hollow
        explained = any("hollow" in text.get_text() for text in figure.legends[0].get_texts())
        assert explained == bool(hollow)


def test_a_single_defense_is_shown_by_its_precisions() -> None:
    table = worst_case().query("training == 'training_0' and preprocessor == 'none'")
    other = table.assign(model="other", training="hardened")
    figure = draw("worst_case", worst_case=pd.concat([table, other]))
    assert [axes.get_title() for axes in figure.axes] == [
        "net, training_0\nworst of 2 attacks",
        "other, hardened\nworst of 2 attacks",
    ]
    precisions = ["float32", "int16 (reference kernels)", "int8 (reference kernels)"]
    assert all(list(drawn_lines(axes, figure)) == precisions for axes in figure.axes)


def test_a_long_row_of_panels_is_broken_into_lines() -> None:
    table = several_defenses()
    vote = table[table["target"] == "int16"].assign(target="vote", kernels="tensorflow+reference+reference")
    figure = draw("worst_case", worst_case=pd.concat([table, vote]))
    figure.draw_without_rendering()
    assert len({round(axes.get_position().x0, 2) for axes in figure.axes}) == 2, "four are two of two"
    assert len({round(axes.get_position().y0, 2) for axes in figure.axes}) == 2


def labels_shown(axes: Axes) -> tuple[bool, bool]:
    """Return whether a panel has labels at its x axis, and at its y axis."""
    x, y = (any(label.get_visible() for label in axis.get_ticklabels()) for axis in (axes.xaxis, axes.yaxis))
    assert x == bool(axes.get_xlabel())
    return x, y


def test_labels_stand_below_and_left_of_panels_alike() -> None:
    figure = draw("defenses")
    shape = (4, 3)
    shown = np.reshape([labels_shown(axes) for axes in figure.axes], (*shape, 2))
    expected = np.zeros((*shape, 2), bool)
    expected[-1, :, 0] = expected[:, 0, 1] = True
    assert (shown == expected).all()
    assert figure.get_figheight() < 4 * panels.PANEL_HEIGHT


def test_a_line_of_panels_keeps_labels_that_differ_from_one_below() -> None:
    first = ["net", "training_0", "none", "int8"]
    table = defenses()
    table.loc[(table[["model", "training", "preprocessor", "target"]] == first).all(axis=1), "samples"] = 100
    missing = defenses()[lambda rows: (rows["training"] == "training_0") | (rows["target"] != "int8")]
    for drawn, keeping in ((table, [0, 3]), (missing, [1, 3])):
        figure = draw("defenses", defenses=drawn)
        for line, row in enumerate(np.reshape(figure.axes, (4, 3))):
            assert {labels_shown(axes)[0] for axes in row if axes.axison} == {line in keeping}


def test_a_line_that_begins_with_a_blank_panel_names_its_y_axis() -> None:
    table = defenses()
    figure = draw("defenses", defenses=table[(table["training"] == "training_0") | (table["target"] != "float32")])
    for line in np.reshape(figure.axes, (4, 3)):
        named = [bool(axes.get_ylabel()) for axes in line if axes.axison]
        assert named == [True] + [False] * (len(named) - 1)


@pytest.mark.parametrize("series", [2, 4, 9])
@pytest.mark.parametrize("budgets", [1, 2, 4, 12])
def test_markers_stay_near_their_budget(budgets: int, series: int) -> None:
    names = [f"defense_{i}" for i in range(series)]
    rows = [
        {"defense": name, "norm": "linf", "budget": budget, **share(100)}
        for name, budget in product(names, range(budgets))
    ]
    axes = style.new_figure(panels.PANEL_WIDTH, panels.PANEL_HEIGHT).subplots()
    panels.accuracy_against_budget(axes, pd.DataFrame(rows), "defense", style.looks(names))
    at = np.array([box.lines[0].get_xdata() for box in axes.containers])
    assert at.shape == (series, budgets)
    assert np.abs(at - np.arange(budgets)).max() <= 0.2, "a fifth of the way to the next budget"
    assert (np.diff(at, axis=0) > 0).all()


def test_pipelines_of_a_front_are_told_by_their_numbers_of_samples(tmp_path: Path) -> None:
    table = cost_and_robustness(1)
    table.loc[table["preprocessor"] == "bits", "samples"] = 100
    figure = draw("cost_and_robustness", cost_and_robustness=table.assign(pareto=True))
    shown = texts(figure, tmp_path / "figure.svg")
    assert {"training_0, int8, n = 200", "training_0, bits, int8, n = 100"} <= set(shown)
    fronts = [line.get_xdata() for line in figure.axes[0].get_lines() if line.get_color() == "#777777"]
    assert [len(front) for front in fronts] == [4, 4]
    assert [{round(at) for at in front} for front in fronts] == [{1}, {0}], "each number of samples costs the same here"


def test_pipelines_of_unknown_work_are_left_out(tmp_path: Path) -> None:
    table = cost_and_robustness(1)
    behind = table["preprocessor"] == "bits"
    figure = draw("cost_and_robustness", cost_and_robustness=table.assign(work=table["work"].mask(behind)))
    assert len(figure.axes[0].containers) == (~behind).sum()
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["12.5"]
    assert not any("bits" in text for text in texts(figure, tmp_path / "figure.svg"))


def test_pipelines_of_equal_work_stand_side_by_side() -> None:
    """Hardened networks cost what others do: at their work itself, all markers would lie upon each other."""
    table = cost_and_robustness(1)
    axes = draw("cost_and_robustness", cost_and_robustness=table).axes[0]
    at = sorted(float(box.lines[0].get_xdata()[0]) for box in axes.containers)
    assert len(at) == len(table)
    assert (np.diff(at) > 0.05).all()
    assert np.abs(np.array(at) - np.repeat([0, 1], len(table) // 2)).max() <= 0.4
    assert [label.get_text() for label in axes.get_xticklabels()] == ["12.5", "13.5"]


def test_a_front_of_one_pipeline_is_seen() -> None:
    table = cost_and_robustness(1)
    best = table.assign(pareto=np.arange(len(table)) == 0)
    figure = draw("cost_and_robustness", cost_and_robustness=best)
    (front,) = (line for line in figure.axes[0].get_lines() if line.get_color() == "#777777")
    assert len(front.get_xdata()) == 1
    assert front.get_marker() == "o"
    assert front.get_markersize() > 2 * style.SETTINGS["lines.markersize"] - 1, "around the marker of the pipeline"


@pytest.mark.parametrize("doubt", [{"adaptive": False}, {"masked": True}])
def test_robustness_that_is_not_to_be_believed_has_hollow_markers(doubt: dict[str, bool], tmp_path: Path) -> None:
    table = cost_and_robustness(1)
    behind = table["preprocessor"] == "bits"
    mixed = pd.concat([table[~behind], table[behind].assign(**doubt, pareto=False)])
    figure = draw("cost_and_robustness", cost_and_robustness=mixed)
    drawn = drawn_lines(figure.axes[0], figure)
    faces = {name: box.lines[0].get_markerfacecolor() for name, box in drawn.items()}
    assert len(faces) == len(table)
    assert {name for name, face in faces.items() if face == "white"} == {name for name in faces if "bits" in name}
    assert any("hollow" in text for text in texts(figure, tmp_path / "mixed.svg"))
    plain = draw("cost_and_robustness", cost_and_robustness=table)
    assert not any("hollow" in text for text in texts(plain, tmp_path / "plain.svg"))


def test_the_matrix_annotates_success_rates_in_per_cent(tmp_path: Path) -> None:
    table = robust_accuracy(trainings=1, budgets=1, minimal=False)
    table["success_rate"] = table["target"].map({"float32": 0.91, "int16": 0.37, "int8": 0.05})
    found = texts(draw("transfer_matrix", robust_accuracy=table), tmp_path / "figure.svg")
    assert {"91", "37", "5"} <= set(found)


def test_seeds_are_one_point_with_the_span_of_their_intervals() -> None:
    table = pd.DataFrame([{"budget": 1, **share(100)}, {"budget": 1, **share(120)}])
    point = panels.over_seeds(table, ["budget"]).iloc[0]
    assert point["accuracy"] == pytest.approx(0.55)
    assert (point["ci_low"], point["ci_high"]) == (share(100)["ci_low"], share(120)["ci_high"])


def luminance(colour: str) -> float:
    """Return the relative luminance (WCAG 2.1)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


def lightness(colour: str) -> float:
    """Return L* of CIELAB: what is left of a colour in grey print."""
    return 116 * np.cbrt(luminance(colour)) - 16


@pytest.mark.parametrize("colour", style.COLOURS)
def test_colours_stand_out_from_paper(colour: str) -> None:
    """WCAG 2.1, 1.4.11: at least 3 to 1 for graphics."""
    assert 1.05 / (luminance(colour) + 0.05) >= 3


@pytest.mark.parametrize("pair", [*combinations(style.PRECISIONS, 2)], ids=" and ".join)
def test_precisions_differ_in_grey_and_in_shape(pair: tuple[str, str]) -> None:
    looks = style.looks(list(style.PRECISIONS))
    first, second = (looks[name] for name in pair)
    assert abs(lightness(first.color) - lightness(second.color)) > 10
    assert first.marker != second.marker
    assert first.linestyle != second.linestyle


def test_series_differ_from_each_other_and_precisions_keep_their_look() -> None:
    names = [f"preprocessor_{i}" for i in range(30)]
    assert len(set(style.looks(names).values())) == 30
    assert style.looks(["int8"])["int8"] == style.looks(["float32", "int8"])["int8"]


def test_neighbouring_series_differ_in_marker_and_line() -> None:
    looks = list(style.looks([f"preprocessor_{i}" for i in range(len(style.COLOURS))]).values())
    for first, second in pairwise(looks):
        assert first.marker != second.marker
        assert first.linestyle != second.linestyle


@pytest.mark.parametrize("name", FIGURES)
def test_no_figure_computes_from_records(name: str) -> None:
    """A figure reaches neither the code that makes records nor that which counts them."""
    path = Path(registry.load("figures", name).__file__)
    reached = {file.stem for file in closure(path)}
    assert not reached & {"records", "metrics", "statistics", "tables"}


def test_transfer_is_explained_where_half_of_the_samples_transfer(tmp_path: Path) -> None:
    found = texts(draw("transfer_explained"), tmp_path / "figure.svg")
    assert sum("pgd_linf, 0.55/255" in text for text in found) == 2
    assert sum("110 of 200 transfer" in text for text in found) == 2


def test_transfer_is_explained_where_most_precisions_were_attacked(tmp_path: Path) -> None:
    back = {"source": "int8", "target": "float32"}
    half = {**back, "attack": "pgd_linf_warm", "successes": 100}  # of 200
    tables = {
        name: pd.concat([TABLES[name], TABLES[name].assign(**back), TABLES[name].assign(**half)])
        for name in ("transfer_explained", "transfer_bins")
    }
    found = texts(draw("transfer_explained", **tables), tmp_path / "figure.svg")
    assert sum("pgd_linf, 0.55/255" in text for text in found) == 2
    assert not any("not run" in text for text in found)


def test_transfer_is_not_explained_by_a_handful_of_samples(tmp_path: Path) -> None:
    areas, bins = (TABLES[name] for name in ("transfer_explained", "transfer_bins"))
    few = {"attack": "few", "samples": 4, "successes": 2}
    areas = areas.assign(successes=60)
    areas, bins = (pd.concat([table, table.assign(**few)]) for table in (areas, bins))
    figure = draw("transfer_explained", transfer_explained=areas, transfer_bins=bins)
    found = texts(figure, tmp_path / "figure.svg")
    assert any("60 of 200 transfer" in text for text in found)
    assert not any("few" in text for text in found)


def test_success_by_quarter_is_drawn_where_both_outcomes_were_seen_most(tmp_path: Path) -> None:
    areas, bins = (TABLES[name] for name in ("transfer_explained", "transfer_bins"))
    back = {"source": "int8", "target": "float32"}
    areas = pd.concat([areas.assign(samples=18, successes=17), areas.assign(**back, samples=24, successes=15)])
    figure = draw("transfer_explained", transfer_explained=areas, transfer_bins=pd.concat([bins, bins.assign(**back)]))
    assert "from int8 to float32" in texts(figure, tmp_path / "figure.svg")


def test_a_layer_that_is_silent_when_clean_is_drawn_at_the_bottom_and_not_as_gone() -> None:
    table = quantization_shift()
    silent = (table["network"] == "float32") & (table["place"] == 1) & (table["size"] > 1 / 255)
    figure = draw(
        "quantization_shift", quantization_shift=table.assign(snr_median=table["snr_median"].mask(silent, -np.inf))
    )
    axes = figure.axes[-1]
    assert axes.lines[0].get_ydata()[1] == axes.get_ylim()[0] < 15


@pytest.mark.parametrize("training", ["pgd_adversarial", "quantization_aware_adversarial_tuned"])
def test_titles_of_neighbouring_panels_do_not_overlap(training: str, tmp_path: Path) -> None:
    names = {"model": "cifar10_resnet8", "training": training, "preprocessor": "bit_depth_4"}
    table = defenses().assign(**names).drop_duplicates(["target", "kernels", "part", "budget"])
    figure = draw("defenses", defenses=table)
    svg(figure, tmp_path / "figure.svg")
    figure.draw_without_rendering()  # in the figure's own dots per inch, not those of the file
    boxes = [axes.title.get_window_extent() for axes in figure.axes]
    assert len(boxes) == 3
    assert not any(first.overlaps(second) for first, second in combinations(boxes, 2))
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 for box in boxes)


def test_samples_that_no_attack_fooled_keep_the_curve_below_100_per_cent() -> None:
    curves = [line.get_ydata() for line in draw("boundary_distance").axes[0].lines]
    assert max(curves[0]) == pytest.approx(100)  # float32
    assert max(map(max, curves[2:])) == pytest.approx(99.5)


@pytest.mark.parametrize("name", ["gradient_alignment", "quantization_shift", "boundary_distance", "loss_surfaces"])
def test_diagnostics_of_no_network_say_so(name: str, tmp_path: Path) -> None:
    empty = {table: TABLES[table].head(0) for table in registry.load("figures", name).TABLES}
    assert len(texts(draw(name, **empty), tmp_path / "figure.svg")) == 1


@pytest.mark.parametrize(
    ("norm", "unit"), [("linf", "(levels of 1/255)"), ("l2", "(inputs in [0, 1])"), ("l0", "(changed values)")]
)
def test_distortions_are_in_the_unit_of_their_norm(norm: str, unit: str, tmp_path: Path) -> None:
    table = robust_accuracy(trainings=1, budgets=0).assign(norm=norm)
    assert unit in texts(draw("distortion", robust_accuracy=table), tmp_path / "distortion.svg")
