"""Metrics by name: what is printed can be read again, and every mistake is a ValueError that helps."""

import inspect
import math
import pickle
import re
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import example, given

import lensmetrics as lm
from lensmetrics.metrics.registry import as_metrics, entries, temporary

SMALLEST = {"k": 1, "w": 0, "pool": 1}

# What a fuzzer of texts should stumble over: names, Python's own words, odd numbers, half a syntax.
FRAGMENTS = [
    *("lens_recall", "kendall", "topk_intersection", "k", "w", "pool", "name", "params", "self", "lambda"),
    *("(", ")", "=", ",", "==", " ", "\n", "\t", "", ".", "'", '"', "{", "}", "%s", "*", "**"),
    *(
        "0",
        "1",
        "3",
        "-1",
        "2.5",
        "1e3",
        "inf",
        "nan",
        "True",
        "None",
        "1_0",
        "+3",
        "\u0663",
        "0x10",
        "9" * 5000,
    ),
]


@st.composite
def any_metric(draw: st.DrawFn) -> lm.Metric:
    name = draw(st.sampled_from(lm.list_metrics()))
    params = {}
    for key, parameter in entries()[name].parameters.items():
        if parameter.default is parameter.empty or draw(st.booleans()):
            params[key] = draw(st.integers(SMALLEST[key], 10**9))
    return lm.get_metric(name, **params)


# Reading what was printed


@given(metric=any_metric(), spaces=st.lists(st.sampled_from(["", " ", "  ", "\t"]), min_size=9, max_size=9))
def test_text_names_the_metric(metric: lm.Metric, spaces: list[str]) -> None:
    assert lm.parse_metric(str(metric)) == metric
    assert str(lm.parse_metric(str(metric))) == str(metric)
    assert " " not in str(metric)
    pieces = re.findall(r"\w+|\W", str(metric))
    spaced = "".join(spaces[i % 9] + piece for i, piece in enumerate(pieces)) + spaces[8]
    assert lm.parse_metric(spaced) == metric


@given(metric=any_metric())
def test_metrics_are_values(metric: lm.Metric) -> None:
    again = pickle.loads(pickle.dumps(metric))
    assert again == metric
    assert hash(again) == hash(metric)
    assert again.function is metric.function is getattr(lm, metric.name)
    assert len({metric, again, lm.parse_metric(str(metric))}) == 1


def test_metrics_differ_by_name_and_parameters() -> None:
    texts = ["lens_recall(k=3)", "lens_recall(k=3,w=2)", "lens_recall(k=4)", "lens_precision(k=3)", "kendall"]
    assert len({lm.parse_metric(text) for text in texts}) == len(texts)


def test_text_has_the_functions_order_and_defaults() -> None:
    assert str(lm.get_metric("lens_recall", k=1000, w=1)) == "lens_recall(k=1000,w=1)"
    assert str(lm.get_metric("lens_recall", w=1, k=1000)) == "lens_recall(k=1000,w=1)"
    assert str(lm.get_metric("lens_recall", k=1000)) == "lens_recall(k=1000,w=1)"
    assert str(lm.parse_metric(" lens_recall ( w = 2 , k = 7 ) ")) == "lens_recall(k=7,w=2)"
    assert str(lm.parse_metric("kendall()")) == str(lm.get_metric("kendall")) == "kendall"


def test_parameter_without_a_default_value_stays_out_of_the_text() -> None:
    metric = lm.parse_metric("topk_div_intersection_published(k=3,w=1)")
    assert str(metric) == "topk_div_intersection_published(k=3,w=1)"
    absent: Any = None
    assert lm.get_metric("topk_div_intersection_published", k=3, w=1, pool=absent) == metric
    with_pool = lm.parse_metric("topk_div_intersection_published(k=3,w=1,pool=9)")
    assert str(with_pool) == "topk_div_intersection_published(k=3,w=1,pool=9)"


def test_metric_is_called_with_a_pair() -> None:
    a = np.arange(12.0).reshape(3, 4)
    pair = lm.MapPair(a, a[::-1])
    assert lm.get_metric("topk_intersection", k=4)(pair) == lm.topk_intersection(pair, k=4) == 0
    assert lm.parse_metric("lens_recall(k=4,w=2)")(pair) == lm.lens_recall(pair, k=4, w=2) == 1


@pytest.mark.parametrize("kind", [np.int8, np.uint16, np.int64])
def test_numpy_integers_become_plain(kind: type[np.integer[Any]]) -> None:
    sizes: dict[str, Any] = {"k": kind(5), "w": kind(0)}
    metric = lm.get_metric("lens_recall", **sizes)
    assert metric == lm.get_metric("lens_recall", k=5, w=0)
    assert str(metric) == "lens_recall(k=5,w=0)"
    assert [type(value) for value in metric.params.values()] == [int, int]


# Mistakes


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lens_recal", "unknown metric 'lens_recal'; did you mean 'lens_recall'? known: "),
        ("kendal", "unknown metric 'kendal'; did you mean 'kendall'? known: "),
        ("Spearman", "did you mean 'spearman'?"),
        ("zzzzzzzz", "unknown metric 'zzzzzzzz'; known: spearman, kendall, "),
        ("lens_recall", "lens_recall needs k"),
        ("lens_recall(w=1)", "lens_recall needs k"),
        ("topk_intersection(k=3,w=1)", "topk_intersection has no parameter 'w'; it takes k"),
        ("kendall(k=3)", "kendall has no parameter 'k'; it takes no parameters"),
        ("kendall(pair=3)", "kendall has no parameter 'pair'"),
        ("kendall(name=3)", "kendall has no parameter 'name'"),
        ("topk_intersection(k=3,k=3)", "each once"),
        ("topk_intersection(k)", "key=value"),
        ("topk_intersection(3)", "key=value"),
        ("topk_intersection(k=3,)", "key=value"),
        ("topk_intersection(=3)", "key=value"),
        ("topk_intersection(k=)", "parameters are numbers"),
        ("topk_intersection(k=three)", "cannot read 'three'"),
        ("topk_intersection(k=1_0)", "cannot read '1_0'"),
        ("topk_intersection(k=+3)", "cannot read '+3'"),
        ("topk_intersection(k=\u0663)", "cannot read '\u0663'"),
        ("topk_intersection(k=1e999)", "cannot read '1e999'"),
        ("topk_intersection(k=infinity)", "cannot read 'infinity'"),
        ("topk_intersection(k=NaN)", "cannot read 'NaN'"),
        ("topk_intersection(k=3", "cannot read the metric"),
        ("topk_intersection k=3", "cannot read the metric"),
        ("topk_intersection(k=3) kendall", "cannot read the metric"),
        ("", "cannot read the metric"),
        ("topk_intersection(k=0)", "k of topk_intersection must be a whole number of at least 1, got 0"),
        ("topk_intersection(k=-5)", "at least 1, got -5"),
        ("topk_intersection(k=2.5)", "whole number of at least 1, got 2.5"),
        ("topk_intersection(k=nan)", "whole number of at least 1, got nan"),
        ("topk_intersection(k=inf)", "whole number of at least 1, got inf"),
        ("lens_recall(k=3,w=-1)", "w of lens_recall must be a whole number of at least 0, got -1"),
        ("lens_recall(k=3,w=0.5)", "whole number of at least 0, got 0.5"),
        ("lens_recall_div_published(k=3,w=1,pool=0)", "pool of lens_recall_div_published must be"),
    ],
)
def test_mistake_in_a_text(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        lm.parse_metric(text)


@pytest.mark.parametrize(
    "text",
    [
        "a" * 10**6,
        " " * 10**6,
        "kendall(" + "1" * 10**6 + ")",
        "kendall(" + "k" * 10**6 + "=1)",
        "lens_recall(k=" + "x" * 10**6 + ")",
        "lens_recall(k=-" + "9" * 4000 + ")",
    ],
    ids=lambda text: f"{text[:16]}...",
)
def test_long_texts_make_short_messages(text: str) -> None:
    with pytest.raises(ValueError, match=r"\.\.\.") as caught:
        lm.parse_metric(text)
    assert len(str(caught.value)) < 1000


def test_unknown_metric_lists_all_known() -> None:
    with pytest.raises(ValueError, match="unknown metric") as caught:
        lm.get_metric("nothing like it")
    assert str(caught.value).endswith(", ".join(lm.list_metrics()))


@pytest.mark.parametrize("key", ["k", "w"])
@pytest.mark.parametrize(
    "value",
    [
        True,
        False,
        np.True_,
        None,
        "3",
        2.0,
        2.5,
        math.nan,
        math.inf,
        -1,
        1j,
        [3],
        np.array(2.5),
        np.array([3]),
    ],
    ids=repr,
)
def test_only_whole_numbers_are_sizes(key: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{key} of lens_recall must be a whole number of at least"):
        lm.get_metric("lens_recall", **{"k": 5, key: value})


@given(text=st.text(max_size=30) | st.lists(st.sampled_from(FRAGMENTS), max_size=9).map("".join))
@example("kendall(name=1)")
@example("kendall(params=1)")
@example("topk_intersection(k=" + "9" * 5000 + ")")
def test_any_text_is_a_metric_or_a_value_error(text: str) -> None:
    try:
        metric = lm.parse_metric(text)
    except ValueError:
        return
    assert metric.name in lm.list_metrics()
    assert lm.parse_metric(str(metric)) == metric


def test_as_metrics_takes_one_or_several_and_drops_repeats() -> None:
    kendall = lm.get_metric("kendall")
    assert as_metrics("kendall") == as_metrics(kendall) == as_metrics(["kendall", kendall]) == [kendall]
    assert list(
        map(str, as_metrics(["spearman", "lens_recall(k=3)", "lens_recall( k=3, w=1 )", kendall]))
    ) == [
        "spearman",
        "lens_recall(k=3,w=1)",
        "kendall",
    ]
    with pytest.raises(ValueError, match="no metrics given"):
        as_metrics([])


@pytest.mark.parametrize("metrics", [lm.kendall, [lm.kendall], 5, [5], None], ids=str)
def test_what_is_no_metric_is_named(metrics: Any) -> None:
    with pytest.raises(TypeError, match="a metric is a text or what get_metric returns"):
        as_metrics(metrics)


# The suite


def test_suite_is_what_the_paper_reports() -> None:
    assert list(map(str, lm.lens_suite(k=1000, windows=(1, 2, 3)))) == [
        "topk_intersection(k=1000)",
        "kendall",
        "spearman",
        "lens_recall(k=1000,w=1)",
        "lens_precision(k=1000,w=1)",
        "topk_div_intersection(k=1000,w=1)",
        "lens_recall_div(k=1000,w=1)",
        "lens_precision_div(k=1000,w=1)",
        "lens_recall(k=1000,w=2)",
        "lens_precision(k=1000,w=2)",
        "topk_div_intersection(k=1000,w=2)",
        "lens_recall_div(k=1000,w=2)",
        "lens_precision_div(k=1000,w=2)",
        "lens_recall(k=1000,w=3)",
        "lens_precision(k=1000,w=3)",
        "topk_div_intersection(k=1000,w=3)",
        "lens_recall_div(k=1000,w=3)",
        "lens_precision_div(k=1000,w=3)",
    ]
    assert lm.lens_suite(k=1000) == lm.lens_suite(k=1000, windows=(1, 2, 3))
    assert len(lm.lens_suite(k=5, windows=())) == 3
    with pytest.raises(ValueError, match="at least 1, got 0"):
        lm.lens_suite(k=0)
    with pytest.raises(ValueError, match="at least 0, got -1"):
        lm.lens_suite(k=5, windows=[1, -1])


# What the registry says of metrics


@pytest.mark.parametrize("name", lm.list_metrics())
def test_entry_describes_the_function(name: str) -> None:
    entry = entries()[name]
    assert entry.function is getattr(lm, name)
    assert entry.function.__name__ == name
    assert entry.summary.endswith(".")
    assert len(entry.summary) < 120
    assert entry.bounds[0] < entry.bounds[1]
    assert entry.best is None or entry.bounds[0] <= entry.best <= entry.bounds[1]
    assert set(entry.parameters) == set(inspect.signature(entry.function).parameters) - {"pair"}
    assert re.match(rf"{name}(\(|$)", entry.signature)
    assert all(key in entry.signature for key in entry.parameters)


def test_temporary_metrics_are_forgotten() -> None:
    def known_for_a_while(pair: lm.MapPair) -> float:
        return 0.0

    before = lm.list_metrics()
    with pytest.raises(RuntimeError, match="even so"), temporary():  # noqa: PT012
        lm.register(bounds=(0, 1), best=None)(known_for_a_while)
        with temporary():
            assert lm.list_metrics() == [*before, "known_for_a_while"]
        assert lm.list_metrics() == [*before, "known_for_a_while"]
        raise RuntimeError("even so")
    assert lm.list_metrics() == before


@pytest.mark.usefixtures("own_metrics")
def test_registered_function_stays_what_it_is() -> None:
    def share_above(pair: lm.MapPair, *, level: float = 0.5) -> float:
        """Share of pixels above a level."""
        return float((pair.unperturbed > level).mean())

    assert lm.register(bounds=(0, 1), best=None)(share_above) is share_above
    assert lm.list_metrics()[-1] == "share_above"
    metric = lm.parse_metric("share_above(level=2.5)")
    assert str(metric) == "share_above(level=2.5)"
    assert lm.parse_metric(str(metric)) == metric
    assert str(lm.get_metric("share_above", level=np.float64(0.25))) == "share_above(level=0.25)"
    assert metric(lm.MapPair([[1, 2, 3, 4]], [[1, 2, 3, 4]])) == 0.5
    assert entries()["share_above"].signature == "share_above(level=0.5)"
    scores = lm.score(np.ones((2, 3, 3)), np.ones((2, 3, 3)), ["share_above", metric])
    assert scores["share_above(level=0.5)"].tolist() == [1, 1]
    assert scores["share_above(level=2.5)"].tolist() == [0, 0]


@pytest.mark.usefixtures("own_metrics")
@pytest.mark.parametrize("level", ["nan", "-0.0", "0.0", "1", "1.0", "inf"])
def test_metrics_are_equal_where_their_texts_are(level: str) -> None:
    @lm.register(bounds=(0, 1), best=None)
    def above(pair: lm.MapPair, *, level: float) -> float:
        return level

    metric = lm.parse_metric(f"above(level={level})")
    assert str(metric) == f"above(level={level})"
    same = lm.parse_metric(str(metric))
    assert metric == same
    assert as_metrics([metric, same]) == [metric]
    for other in {"nan", "-0.0", "0.0", "1", "1.0"} - {level}:
        assert metric != lm.parse_metric(f"above(level={other})")
    assert metric != str(metric)


@pytest.mark.usefixtures("own_metrics")
def test_parameter_that_is_no_number_is_refused() -> None:
    @lm.register(bounds=(0, 1), best=None)
    def half(pair: lm.MapPair, *, level: float) -> float:
        return level

    high: Any = "high"
    with pytest.raises(ValueError, match="level"):
        lm.get_metric("half", level=high)  # its text could not be read again


@pytest.mark.usefixtures("own_metrics")
def test_names_that_are_taken_are_refused() -> None:
    def kendall(pair: lm.MapPair) -> float:
        return 0.0

    def sample(pair: lm.MapPair) -> float:
        return 0.0

    for function in (kendall, sample):
        with pytest.raises(ValueError, match=f"cannot be named '{function.__name__}'"):
            lm.register(bounds=(0, 1), best=None)(function)
    assert lm.get_metric("kendall").function is lm.kendall


@pytest.mark.usefixtures("own_metrics")
@pytest.mark.parametrize("name", ["name", "k", "w", "pool", "metric", "value", "eps_norm", "status"])
def test_metrics_are_not_named_like_columns(name: str) -> None:
    def metric(pair: lm.MapPair) -> float:
        return 0.0

    metric.__name__ = name
    with pytest.raises(ValueError, match=f"cannot be named '{name}'"):
        lm.register(bounds=(0, 1), best=None)(metric)


@pytest.mark.usefixtures("own_metrics")
@pytest.mark.parametrize(
    "parameter",
    ["metric", "value", "sample", "name", "label", "status", "file", "eps", "eps_norm", "attack_k"],
)
def test_parameters_are_not_named_like_columns(parameter: str) -> None:
    functions: dict[str, Any] = {}
    exec(f"def odd(pair, *, {parameter}=3): return 0.0", functions)
    message = f"the metric odd cannot have a parameter '{parameter}': tables have a column of that name"
    with pytest.raises(ValueError, match=message):
        lm.register(bounds=(0, 1), best=None)(functions["odd"])
    assert "odd" not in lm.list_metrics()


@pytest.mark.usefixtures("own_metrics")
def test_positional_parameters_are_refused() -> None:
    def share(pair: lm.MapPair, level: float) -> float:
        return level

    with pytest.raises(ValueError, match="keyword-only"):
        lm.register(bounds=(0, 1), best=None)(share)
    assert "share" not in lm.list_metrics()
