"""Metrics by name: printed names can be parsed, and every mistake is a helpful ValueError."""

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
from lensmetrics.metrics.registry import as_metrics, built_in, entries
from lensmetrics.tables.known import BUILT_IN
from tests import reference

SMALLEST = {"k": 1, "w": 0, "pool": 1}

# Fragments that are hard to parse: names, words of Python, odd numbers, incomplete syntax.
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


@given(metric=any_metric(), spaces=st.lists(st.sampled_from(["", " ", "  ", "\t"]), min_size=9, max_size=9))
def test_parsing_reads_what_was_printed(metric: lm.Metric, spaces: list[str]) -> None:
    assert lm.parse_metric(str(metric)) == metric
    assert str(lm.parse_metric(str(metric))) == str(metric)
    assert " " not in str(metric)
    pieces = re.findall(r"\w+|\W", str(metric))
    spaced = "".join(spaces[i % 9] + piece for i, piece in enumerate(pieces)) + spaces[8]
    assert lm.parse_metric(spaced) == metric


@given(metric=any_metric())
def test_equal_metrics_have_equal_hashes_and_survive_pickling(metric: lm.Metric) -> None:
    again = pickle.loads(pickle.dumps(metric))
    assert again == metric
    assert hash(again) == hash(metric)
    assert again.function is metric.function is getattr(lm, metric.name)
    assert len({metric, again, lm.parse_metric(str(metric))}) == 1


def test_metrics_differ_by_name_and_parameters() -> None:
    texts = ["lens_recall(k=3)", "lens_recall(k=3,w=2)", "lens_recall(k=4)", "lens_precision(k=3)", "kendall"]
    assert len({lm.parse_metric(text) for text in texts}) == len(texts)


def test_text_has_all_parameters_in_the_order_of_the_function() -> None:
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
def test_numpy_integers_become_plain_integers(kind: type[np.integer[Any]]) -> None:
    sizes: dict[str, Any] = {"k": kind(5), "w": kind(0)}
    metric = lm.get_metric("lens_recall", **sizes)
    assert metric == lm.get_metric("lens_recall", k=5, w=0)
    assert str(metric) == "lens_recall(k=5,w=0)"
    assert [type(value) for value in metric.params.values()] == [int, int]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lens_recal", "unknown metric 'lens_recal'; did you mean 'lens_recall'? known: "),
        ("kendal", "unknown metric 'kendal'; did you mean 'kendall'? known: "),
        ("Spearman", "did you mean 'spearman'?"),
        ("zzzzzzzz", "unknown metric 'zzzzzzzz'; known: spearman, kendall, "),
        ("lens_recall", "lens_recall needs k: give it a number, as in lens_recall(k=100)"),
        ("lens_recall(w=1)", "lens_recall needs k"),
        ("topk_intersection(k=3,w=1)", "topk_intersection has no parameter 'w'; it takes k"),
        ("kendall(k=3)", "kendall has no parameter 'k'; it takes no parameters"),
        ("kendall(pair=3)", "kendall has no parameter 'pair'"),
        ("kendall(name=3)", "kendall has no parameter 'name'"),
        ("topk_intersection(k=3,k=3)", "each parameter once"),
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
        ("topk_intersection(k=0)", "topk_intersection: k must be an integer >= 1, got 0"),
        ("topk_intersection(k=-5)", "k must be an integer >= 1, got -5"),
        ("topk_intersection(k=2.5)", "integer >= 1, got 2.5"),
        ("topk_intersection(k=nan)", "integer >= 1, got nan"),
        ("topk_intersection(k=inf)", "integer >= 1, got inf"),
        ("lens_recall(k=3,w=-1)", "lens_recall: w must be an integer >= 0, got -1"),
        ("lens_recall(k=3,w=0.5)", "integer >= 0, got 0.5"),
        (
            "lens_recall_div_published(k=3,w=1,pool=0)",
            "lens_recall_div_published: pool must be an integer >= 1, got 0",
        ),
    ],
)
def test_mistakes_in_a_text_are_explained(text: str, words: str) -> None:
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
def test_sizes_must_be_integers(key: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"lens_recall: {key} must be an integer >= "):
        lm.get_metric("lens_recall", **{"k": 5, key: value})


@given(text=st.text(max_size=30) | st.lists(st.sampled_from(FRAGMENTS), max_size=9).map("".join))
@example("kendall(name=1)")
@example("kendall(params=1)")
@example("topk_intersection(k=" + "9" * 5000 + ")")
def test_every_text_is_a_metric_or_a_value_error(text: str) -> None:
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


@pytest.mark.parametrize(
    "metrics",
    [lm.kendall, [lm.kendall], 5, [5], None],
    ids=["function", "list of functions", "number", "list of numbers", "None"],
)
def test_wrong_types_of_metrics_are_named(metrics: Any) -> None:
    with pytest.raises(TypeError, match="a metric is a text or what get_metric returns"):
        as_metrics(metrics)


def test_a_built_in_metric_must_be_known_to_tables() -> None:
    def brightest(pair: lm.MapPair) -> float:
        return float(pair.unperturbed.max())

    with pytest.raises(LookupError, match=r"add its bounds, .* in lensmetrics/tables/known\.py"):
        built_in(brightest)


def test_every_metric_is_listed() -> None:
    assert set(lm.list_metrics()) == {*reference.TWINS, *reference.TWINS_OF_IMAGES}


@pytest.mark.parametrize("name", reference.TWINS)
def test_metrics_compute_what_their_functions_do(name: str) -> None:
    rng = np.random.default_rng(6)
    pair = lm.MapPair(rng.random((9, 9)), rng.random((9, 9)))
    available = {"k": 7, "w": 2, "pool": 80}
    arguments = {parameter: available[parameter] for parameter in reference.parameters(name)}
    metric = lm.get_metric(name, **arguments)
    assert metric.name == name
    assert metric.params == arguments
    listed = ",".join(f"{key}={value}" for key, value in arguments.items())
    assert str(metric) == (f"{name}({listed})" if listed else name)
    expected = getattr(lm, name)(pair, **arguments)
    assert metric(pair) == expected
    for text in (str(metric), str(metric).replace("(", "( ").replace(",", " , ").replace("=", " = ")):
        parsed = lm.parse_metric(text)
        assert str(parsed) == str(metric)
        assert parsed(pair) == expected


@pytest.mark.parametrize("name", lm.list_metrics())
def test_entry_describes_the_function(name: str) -> None:
    entry = entries()[name]
    assert entry.function is getattr(lm, name)
    assert entry.function.__name__ == name
    assert entry.summary.endswith(".")
    assert len(entry.summary) < 120
    assert entry.summary == BUILT_IN[name].meaning
    assert (entry.bounds, entry.best) == BUILT_IN[name][:2]
    assert set(entry.parameters) == set(inspect.signature(entry.function).parameters) - {"pair"}
    assert re.match(rf"{name}(\(|$)", entry.signature)
    assert all(key in entry.signature for key in entry.parameters)
