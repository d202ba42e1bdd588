"""Files of --also: further explanations of the images that were attacked through another one."""

import dataclasses
import functools
import re
import shlex
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import torch

import generators
import lensmetrics as lm
from generators import fit_patterns, generate, sweep
from generators.also import parsed, with_also
from generators.attacks import ATTACKS
from generators.disk import part_path
from generators.explanations import abs_sum, beta_smooth, smooth_grad
from generators.networks.checkpoints import load
from generators.plan import Plan
from generators.request import Request
from lensmetrics.cli import main
from tests.generators.test_work import work

WEIGHTS = Path(generators.__file__).parent / "weights" / "fashion_mnist-small_cnn-natural.pt"
EMBEDDED = Path(lm.__file__).parent / "data" / "fashion_mnist-natural-gradient-random_sign.h5"
TARGET_MAP = (
    *("--attack", "target_map", "--steps", "6", "--learning-rate", "0.01", "--output-weight", "1e4"),
    *("--batch-size", "4"),
)
TOPK = ("--attack", "topk", "--eps", "0.1", "--steps", "2", "--step-size", "0.03", "--samples", "3")
OWN = "tests.generators.own_functions"
SMOOTHED, NOISY = "beta_smooth(beta=0.8)", "smooth_grad(n_draws=3,sigma=0.1)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Embedded images, and the three files of one run of target_map in maps/."""
    folder = tmp_path_factory.mktemp("also")
    with h5py.File(EMBEDDED) as file:
        images, labels = file["image"][:12], file["label"][:12].astype(np.uint8)
    arrays = {"x_train": images, "y_train": labels, "x_test": images, "y_test": labels}
    np.savez(folder / "fashion_mnist.npz", allow_pickle=False, **arrays)
    made(folder, "maps/a.h5", *TARGET_MAP, "--store-images", "all", "--also", SMOOTHED, NOISY)
    return folder


@pytest.fixture(scope="module")
def network() -> Any:
    return load(WEIGHTS, dataset="fashion_mnist", model="small_cnn")[0]


def arguments(folder: Path, out: str, *more: str) -> list[str]:
    return [
        *("--dataset", "fashion_mnist", "--data", str(folder), "--model", "small_cnn", "--device", "cpu"),
        *("--checkpoint", str(WEIGHTS), "--samples", "6", "--explanation", "gradient"),
        *("--out", str(folder / out), *more),
    ]


def made(folder: Path, out: str, *more: str) -> list[Path]:
    """Run the command and return its files."""
    assert generate.main(arguments(folder, out, *more)) == 0
    request = Request.parse(arguments(folder, out, *more))
    return list(request.files(request.plan()))


def read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    with h5py.File(path) as file:
        return {name: dataset[()] for name, dataset in file.items()}, lm.PairStore(path).attrs


def test_the_same_images_are_explained_by_each(folder: Path, network: Any) -> None:
    attacked, _ = read(folder / "maps/a.h5")
    seeds = [(0, int(sample), 1) for sample in attacked["sample"]]
    labels = torch.from_numpy(attacked["label"])
    image = torch.from_numpy(attacked["image"][:, None]).float() / 255
    perturbed = torch.from_numpy(attacked["image_perturbed"][:, None])
    assert (attacked["perturbation_linf"] > 0).all()
    for text, explain in (
        (SMOOTHED, functools.partial(beta_smooth, network, beta=0.8)),
        (NOISY, functools.partial(smooth_grad, network, seeds=seeds, n_draws=3, sigma=0.1)),
    ):
        arrays, attrs = read(folder / f"maps/a-{text}.h5")
        assert arrays.keys() == attacked.keys()
        for name in arrays.keys() - {"unperturbed", "perturbed", *(k for k in arrays if "checksum" in k)}:
            np.testing.assert_array_equal(arrays[name], attacked[name], err_msg=name)
        for name, inputs in (("unperturbed", image), ("perturbed", perturbed)):
            expected = abs_sum(explain(images=inputs, labels=labels)).detach().numpy()
            np.testing.assert_allclose(arrays[name], expected, rtol=1e-4, atol=1e-6)
        assert f"{attrs['explanation']}(" in text
        assert attrs["attacked_explanation"] == "gradient"


def test_the_first_file_is_what_it_is_without_also(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Byte for byte, also the command in it."""
    contents = []
    for name, more in (("with", ("--also", SMOOTHED)), ("without", ())):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        words = arguments(folder, "x", *TARGET_MAP, *more, "--out", "a.h5")
        assert generate.main(words) == 0
        contents.append(Path("a.h5").read_bytes())
    assert contents[0] == contents[1]
    assert b"attacked_explanation" not in contents[0]


def test_attributes_are_those_of_the_maps_and_name_what_was_attacked(folder: Path) -> None:
    more = ("--explanation", "integrated_gradients", "--n-points", "6", "--attack-n-points", "3", *TOPK)
    acceptance = ("--acceptance", "kendall", "topk_intersection(k=100)")
    also = ("beta_smooth(beta=.8,n_points=4,base=integrated_gradients)", "gradient")
    files = made(folder, "ig.h5", *more, *acceptance, "--also", *also)
    smoothed = "beta_smooth(base=integrated_gradients,beta=0.8,n_points=4)"
    assert [path.name for path in files] == [
        "ig.h5",
        "ig-topk_intersection(k=100).h5",
        f"ig-{smoothed}.h5",
        "ig-gradient.h5",
        f"ig-topk_intersection(k=100)-{smoothed}.h5",
        "ig-topk_intersection(k=100)-gradient.h5",
    ]
    _, attrs = read(files[4])
    expected = {"explanation": "beta_smooth", "base": "integrated_gradients", "beta": 0.8, "n_points": 4}
    expected |= {"attacked_explanation": "integrated_gradients(n_points=3)", "attack": "topk", "eps": 0.1}
    expected |= {"acceptance": "topk_intersection(k=100)"}
    assert {name: attrs.get(name) for name in expected} == expected
    assert "attack_n_points" not in attrs
    assert not {"n_points", "beta", "attack_n_points"} & read(files[5])[1].keys()
    images = [made(folder, "x.h5", *more, *acceptance)[0]]
    assert read(images[0])[0]["best_step"].tolist() == read(files[2])[0]["best_step"].tolist()


@pytest.mark.parametrize(
    ("name", "more", "also"),
    [
        ("target", TARGET_MAP, SMOOTHED),
        (
            "two",
            (*TOPK, "--explanation", "smooth_grad", "--n-draws", "2", "--acceptance", "spearman", "kendall"),
            "smooth_grad(n_draws=3,sigma=0.15,independent_draws=true)",
        ),
        ("noise", ("--attack", "random_sign", "--eps", "0.1"), SMOOTHED),
    ],
)
def test_the_recorded_command_makes_each_file_again(
    folder: Path, tmp_path: Path, name: str, more: tuple[str, ...], also: str
) -> None:
    for path in made(folder, f"{name}.h5", *more, "--dtype", "float64", "--also", also):
        arrays, attrs = read(path)
        words = shlex.split(str(attrs["command"]))[3:]
        place = words.index("--out") + 1
        words[place] = str(tmp_path / Path(words[place]).name)
        assert generate.main(words) == 0
        again, others = read(tmp_path / path.name)
        np.testing.assert_allclose(arrays["perturbed"], again["perturbed"], rtol=1e-5, atol=1e-9)
        differing = {name for name in {*attrs, *others} if str(attrs.get(name)) != str(others.get(name))}
        assert differing <= {"command", "checksum_metadata"}  # which have the folder
        for file in tmp_path.glob("*.h5"):
            file.unlink()


def test_an_attack_through_no_map_makes_the_file_of_the_explanation_alone(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    noise = ("--attack", "random_sign", "--eps", "0.1", "--out")
    assert generate.main(arguments(folder, "x", *noise, "a.h5", "--also", SMOOTHED)) == 0
    path = Path(f"a-{SMOOTHED}.h5")
    content = path.read_bytes()
    path.unlink()
    alone = ("--explanation", "beta_smooth", "--beta", "0.8")
    assert generate.main(arguments(folder, "x", *noise, str(path), *alone)) == 0
    assert path.read_bytes() == content


def test_an_interrupted_run_continues_all_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    more = (*TOPK, "--batch-size", "1", "--also", NOISY, "uniform_smooth(n_draws=2)")
    attack, calls = ATTACKS["topk"], []

    @functools.wraps(attack.function)
    def interrupted(*args: Any, **parameters: Any) -> Any:
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return attack.function(*args, **parameters)

    with monkeypatch.context() as patch:
        patch.setitem(ATTACKS, "topk", dataclasses.replace(attack, function=interrupted))
        assert generate.main(arguments(folder, "half.h5", *more)) == 130
    names = ("half.h5", f"half-{NOISY}.h5", "half-uniform_smooth(n_draws=2,radius=1).h5")
    files = [folder / name for name in names]
    assert [lm.PairStore(part_path(path)).complete.tolist() for path in files] == [[True, True, False]] * 3
    assert made(folder, "half.h5", *more) == files
    for path, whole in zip(files, made(folder, "whole.h5", *more), strict=True):
        np.testing.assert_array_equal(read(path)[0]["perturbed"], read(whole)[0]["perturbed"])
    _, attrs = read(files[2])
    expected = {"radius": 1.0, "n_draws": 2, "dim": 784, "bound": 1.0, "nonnegative": 1}
    assert {name: attrs[name] for name in expected} == expected


def test_a_file_is_added_to_finished_ones_and_one_of_other_settings_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made(folder, "late.h5", *TOPK)
    before = (folder / "late.h5").read_bytes()
    made(folder, "late.h5", *TOPK, "--also", NOISY)
    assert (folder / "late.h5").read_bytes() == before
    first, added = (read(folder / name)[0] for name in ("late.h5", f"late-{NOISY}.h5"))
    assert (first["best_step"] == added["best_step"]).all()
    np.testing.assert_allclose(first["output_perturbed"], added["output_perturbed"], rtol=1e-5)
    capsys.readouterr()
    other = (*TOPK, "--explanation", "input_x_gradient", "--also", NOISY)
    (folder / "late.h5").rename(folder / "aside.h5")
    assert generate.main(arguments(folder, "late.h5", *other)) == 2
    assert "attacked_explanation is gradient in the file, input_x_gradient given" in capsys.readouterr().err
    (folder / f"late-{NOISY}.h5").rename(folder / "late.h5")  # a file of --also is no file of its explanation
    alone = (*TOPK, "--explanation", "smooth_grad", "--n-draws", "3", "--sigma", "0.1", "--also", SMOOTHED)
    assert generate.main(arguments(folder, "late.h5", *alone)) == 2
    assert "attacked_explanation is gradient in the file, not set given" in capsys.readouterr().err


def test_images_that_are_not_found_again_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Such as on another device: the files would be of different images."""
    made(folder, "moved.h5", *TOPK)
    with h5py.File(folder / "moved.h5", "r+") as file:
        file["output_perturbed"][1] += 0.5
    assert generate.main(arguments(folder, "moved.h5", *TOPK, "--also", NOISY)) == 2
    error = capsys.readouterr().err
    assert "the attack does not find the image of sample 1 that is in" in error
    assert "use those of that run, or move its files away to make all" in error
    assert [path.name for path in folder.glob("moved*")] == ["moved.h5"]


def test_each_acceptance_is_computed_once_for_all_its_files(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    perturb = Plan.perturb

    def counted(self: Plan, *given: Any, **more: Any) -> Any:
        asked.append(self.acceptances)
        return perturb(self, *given, **more)

    monkeypatch.setattr(Plan, "perturb", counted)
    made(folder, "once.h5", *TOPK, "--acceptance", "kendall", "spearman", "--also", NOISY, "lrp")
    assert asked == [("kendall", "spearman")]


@pytest.mark.parametrize(
    ("also", "sentence"),
    [
        (["beta_smoth"], "'beta_smoth' is no name; did you mean beta_smooth?"),
        (["beta_smooth(beta=0.8"], "--also 'beta_smooth(beta=0.8' cannot be read; write a name, or for"),
        (["beta_smooth(0.8)"], "'0.8' cannot be read; write each parameter once, as name=value"),
        (["beta_smooth(beta=1,beta=2)"], "'beta=2' cannot be read; write each parameter once"),
        (["beta_smooth(betta=1)"], "of base gradient has no parameter 'betta'; it takes base, beta, form"),
        (["beta_smooth(n_points=3)"], "has no parameter 'n_points'; it takes base, beta, form"),
        (["beta_smooth(beta=-1)"], "(beta=-1)': beta must be above 0 and finite, got -1.0"),
        (["beta_smooth(beta=x)"], "beta must be a number or a fraction such as 8/255, got 'x'"),
        (["beta_smooth(base=smooth_grad)"], "base must be one of gradient, input_x_gradient, "),
        (["smooth_grad(attack_n_draws=3)"], "has no parameter 'attack_n_draws'; it takes n_draws"),
        (["smooth_grad(independent_draws=3)"], "independent_draws must be one of true, false"),
        (["gradient(form=theirs)"], "form must be one of standard, dombrowski, got 'theirs'"),
        (["gradient(form=dombrowski)"], "gradient in the form dombrowski needs a network that normalizes"),
        (["gradient"], "--also 'gradient' is the --explanation itself, which has its file; remove it"),
        ([SMOOTHED, "beta_smooth(beta=4/5)"], "--also has beta_smooth(beta=0.8) twice; give each"),
        (["uniform_smooth(reduction=sum)"], "so reduction sum has no meaning for it; use reduction abs_sum"),
        (["pattern_attribution"], "fashion_mnist-small_cnn-natural.patterns.pt does not exist"),
        (["pattern_attribution(patterns=x)"], "patterns is no parameter: --patterns FILE on the command"),
        (["lrp(patterns=x)"], "--also 'lrp(patterns=x)': lrp has no parameter 'patterns'; it takes form"),
        (
            ["beta_smooth", "lrp", "--patterns", "x"],
            "--explanation gradient and --also beta_smooth lrp, none",
        ),
        (["nowhere:f"], "--also 'nowhere:f': there is no module nowhere"),
        ([f"{OWN}:needs_layer"], f"error: --also {OWN}:needs_layer needs layer; it must take"),
        ([f"{OWN}:flat"], f"error: --also {OWN}:flat returned a tensor"),
        ([f"{OWN}:failing"], f"error: --also {OWN}:failing fails with "),
        ([f"{OWN}:undefined"], f"--also '{OWN}:undefined': the explanation of the first image has NaN"),
        ([f"{OWN}:mixing"], f"--also '{OWN}:mixing': the explanation gives another map for an image alone"),
        (["captum:Salience"], "error: --also 'captum:Salience' is no name; did you mean captum:Saliency"),
        (["captum:NeuronGradient"], "error: --also captum:NeuronGradient needs neuron_selector, which has"),
    ],
)
def test_what_cannot_be_explained_is_refused_in_one_sentence(
    folder: Path, also: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate.main(arguments(folder, "bad.h5", *TARGET_MAP, "--also", *also)) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert not list(folder.glob("bad*"))


@pytest.mark.parametrize(
    ("also", "sentence"),
    [
        (["ours_a:b", "ours:a_b"], "--also ours_a:b and --also ours:a_b would both be written to "),
        (["ours:f", "ours:F"], "both be written to bad-ours_F.h5 where upper and lower case are the same"),
        (["mass_center:shift"], "--acceptance mass_center_shift and --also mass_center:shift would both"),
    ],
)
def test_explanations_whose_files_would_have_one_name_are_refused(
    folder: Path,
    tmp_path: Path,
    also: list[str],
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for module, functions in (("ours", ["a_b", "f", "F"]), ("ours_a", ["b"]), ("mass_center", ["shift"])):
        code = "".join(f"def {name}(model, images, labels):\n    return images\n" for name in functions)
        (tmp_path / f"{module}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    acceptance = ("--acceptance", "kendall", "mass_center_shift")
    assert generate.main(arguments(folder, "bad.h5", *TOPK, *acceptance, "--also", *also)) == 2
    error = capsys.readouterr().err
    assert sentence in error.replace(f"{folder}/", "")
    assert error.count("\n") == 1
    assert not list(folder.glob("bad*"))


def test_names_are_read_with_their_parameters() -> None:
    assert parsed(" smooth_grad ( n_draws = 50 , sigma = 1/10 ) ") == (
        "smooth_grad",
        {"n_draws": 50, "sigma": 0.1},
    )
    assert parsed("captum:Saliency") == ("captum:Saliency", {})
    assert parsed("lrp()") == ("lrp", {})


def test_explanations_of_other_libraries_and_of_ones_own(folder: Path) -> None:
    files = made(folder, "own.h5", *TOPK, "--also", f"{OWN}:squared", "captum:Saliency")
    assert [path.name for path in files] == [
        "own.h5",
        "own-tests.generators.own_functions_squared.h5",
        "own-captum_Saliency.h5",
    ]
    attacked = read(files[0])[0]
    for path, power in zip(files[1:], (2, 1), strict=True):
        expected = attacked["perturbed"] ** power
        np.testing.assert_allclose(read(path)[0]["perturbed"], expected, rtol=1e-3, atol=1e-6)
    attrs = read(files[2])[1]
    assert "captum" in attrs["versions"]
    assert "captum" not in read(files[0])[1]["versions"]


def test_patterns_are_recorded_where_they_matter(folder: Path, tmp_path: Path) -> None:
    patterns = tmp_path / "x.patterns.pt"
    words = ["--dataset", "fashion_mnist", "--data", str(folder), "--model", "small_cnn", "--device", "cpu"]
    assert fit_patterns.main([*words, "--checkpoint", str(WEIGHTS), "--out", str(patterns)]) == 0
    more = (*TOPK, "--patterns", str(patterns), "--also", "pattern_attribution", SMOOTHED)
    first, of_patterns, smoothed = made(folder, "patterns.h5", *more)
    attributes = [read(path)[1] for path in (first, of_patterns, smoothed)]
    assert ["patterns_sha256" in attrs for attrs in attributes] == [False, True, False]
    commands = [str(attrs["command"]) for attrs in attributes]
    assert ["--patterns" in command for command in commands] == [False, True, False]
    for command in commands:
        assert Request.parse(shlex.split(command)[3:]).plan()
    attacked = ("--explanation", "pattern_attribution", "--also", "gradient", "--patterns", str(patterns))
    for path in made(folder, "through.h5", *TOPK, *attacked):
        attrs = read(path)[1]
        assert "patterns_sha256" in attrs
        assert "--patterns" in str(attrs["command"])


def test_tables_have_what_was_attacked_as_a_condition(folder: Path, tmp_path: Path) -> None:
    files = [folder / "maps/a.h5", folder / f"maps/a-{SMOOTHED}.h5", folder / f"maps/a-{NOISY}.h5"]
    scores = lm.evaluate(files, ["pearson"])
    given = scores.groupby("explanation", observed=True)["attacked_explanation"].first()
    assert given.isna().to_dict() == {"gradient": True, "beta_smooth": False, "smooth_grad": False}
    table = lm.summarize(scores, by=["explanation", "attacked_explanation"])
    assert len(table) == 3
    compared = lm.compare(scores, on="explanation", metrics="pearson")
    assert compared["n"].tolist() == [6, 6, 6]
    own = folder / "maps/own.h5"
    if not own.exists():
        made(folder, "maps/own.h5", *TARGET_MAP, "--explanation", "beta_smooth", "--beta", "0.8")
    both = lm.evaluate([*files, own], ["pearson"])
    assert lm.summarize(both).columns[:2].tolist() == ["explanation", "attacked_explanation"]
    known = lm.compare(both, on="attacked_explanation", between=["gradient", None])
    assert known.dropna(subset="p")["explanation"].tolist() == ["beta_smooth"]
    names = [str(files[0]), str(files[1])]
    assert lm.compare(both, on="file", between=names)["n"].tolist() == [6]
    against = lm.evaluate(files, ["mse_normalized"], against="target")
    targets = [read(path)[0]["target"] for path in files]
    assert all((target == targets[0]).all() for target in targets)
    for path, rows in against.groupby("file", observed=True):
        arrays, _ = read(Path(str(path)))
        maps = [m / m.sum((1, 2), keepdims=True) for m in (arrays["target"], arrays["perturbed"])]
        np.testing.assert_allclose(rows["mse_normalized"], ((maps[0] - maps[1]) ** 2).mean((1, 2)), rtol=1e-3)
    out = tmp_path / "scores.csv"
    assert main(["score", *map(str, files), "-m", "pearson", "-o", str(out)]) == 0
    assert "attacked_explanation" in pd.read_csv(out).columns
    page = tmp_path / "page.html"
    assert main(["report", str(out), "-o", str(page)]) == 0
    assert "attacked_explanation" in page.read_text(encoding="utf-8")


def test_each_of_several_runs_is_compared_with_the_command_of_the_page(folder: Path, tmp_path: Path) -> None:
    acceptance = ("--acceptance", "kendall", "spearman")
    runs = [[folder / "maps/a.h5", folder / f"maps/a-{SMOOTHED}.h5"]]
    first, second, *smoothed = made(folder, "maps/b.h5", *TOPK, *acceptance, "--also", SMOOTHED)
    runs += [list(run) for run in zip((first, second), smoothed, strict=True)]
    runs.insert(0, made(folder, "maps/c.h5", "--attack", "random_sign", "--eps", "0.1", "--also", SMOOTHED))
    scores = lm.evaluate([path for run in runs for path in run], ["pearson"])
    lm.write_scores(scores, tmp_path / "scores.parquet")
    page = (Path(generators.__file__).parent / "README.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^ +lensmetrics (compare .* --by .*)$", page.replace("\\\n", ""), re.M)
    words = shlex.split(line.replace("scores.parquet", str(tmp_path / "scores.parquet")))
    out = tmp_path / "compared.csv"
    assert main([*words, "-o", str(out)]) == 0
    found = pd.read_csv(out)
    assert found["n"].tolist() == [6, 6, 3, 3]
    means = scores.groupby("file", observed=True)["pearson"].mean()
    for side, position in (("mean_first", 0), ("mean_second", 1)):
        expected = [means[str(run[position])] for run in runs]
        np.testing.assert_allclose(found[side], expected, rtol=1e-6)
    assert main([*words[: words.index("--by")], "-o", str(out)]) == 0
    assert pd.read_csv(out)["n"].sum() == 6  # of noise, through which nothing was attacked


def test_points_of_all_reported_maps_count_for_the_batch_size() -> None:
    alone = work("gradient", "topk")
    assert alone.batch_size() == 16
    also = ["smooth_grad(n_draws=1000)", "uniform_smooth(n_draws=1000)"]
    found = with_also(alone.plan, also, "topk")
    both = dataclasses.replace(alone, plan=found, files=(found, *found.also))
    assert both.batch_size() == 4  # of 8192 points


def test_the_command_of_the_page_writes_the_files_that_it_names() -> None:
    page = (Path(generators.__file__).parent / "README.md").read_text(encoding="utf-8")
    (line,) = [
        line for line in page.replace("\\\n", " ").splitlines() if "--also " in line and "   python" in line
    ]
    request = Request.parse(shlex.split(line)[3:])
    files = list(map(str, request.files(request.plan())))
    assert len(files) == 3
    assert all(f"`{path}`" in page for path in files)


def test_the_option_may_be_given_more_than_once(folder: Path) -> None:
    words = arguments(folder, "x.h5", *TOPK, "--also", SMOOTHED, "--also", NOISY, "lrp")
    assert [one.text for one in Request.parse(words).plan().also] == [SMOOTHED, NOISY, "lrp"]
    assert Request.parse(arguments(folder, "x.h5", *TOPK)).also == []


EXPERIMENT = """
out = "{folder}/swept"
[[generate]]
dataset = "fashion_mnist"
data = "{folder}"
model = "small_cnn"
device = "cpu"
checkpoint = "{weights}"
explanation = ["gradient", "input_x_gradient"]
attack = "topk"
eps = [0.03, 0.1]
from_smaller_eps = true
also = ["beta_smooth(beta=0.8)", "smooth_grad(n_draws=2)"]
steps = 2
samples = 3
"""


def test_an_experiment_makes_and_counts_the_files(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / "experiment.toml"
    path.write_text(EXPERIMENT.format(folder=folder, weights=WEIGHTS), encoding="utf-8")
    items = sweep.read(path)
    assert [len(item.files()) for item in items] == [3] * 4
    assert sweep.main([str(path), "--jobs", "2"]) == 0
    assert "0 of 12 files exist" in capsys.readouterr().err
    lost = folder / "swept" / f"gradient-topk-0.1-{SMOOTHED}.h5"
    lost.unlink()
    assert sweep.main([str(path), "--dry-run"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("missing")]
    assert [line.partition("  # ")[2] for line in lines] == [str(lost)]
    assert sweep.main([str(path)]) == 0
    assert "11 of 12 files exist" in capsys.readouterr().err
    assert lm.PairStore(lost).attrs["start_eps"] == 0.03


@pytest.mark.parametrize(
    ("also", "sentence"),
    [
        ("[3]", 'also in [[generate]] must be texts such as "beta_smooth(beta=0.8)", got [3]'),
        ("3", 'also in [[generate]] must be texts such as "beta_smooth(beta=0.8)", got 3'),
        ("true", 'also in [[generate]] must be texts such as "beta_smooth(beta=0.8)", got true'),
        ('[["lrp"], 1.5]', 'such as "beta_smooth(beta=0.8)", got [["lrp"], 1.5]'),
        ("[]", "also in [[generate]] is an empty list; remove it, or write also = [[], [...]]"),
        ('"beta_smooth(bta=1)"', "beta_smooth of base gradient has no parameter 'bta'"),
        ('["gradient"]', "--also 'gradient' is the --explanation itself"),
        ('["lrp", ["gradient"]]', "--also 'gradient' is the --explanation itself"),
    ],
)
def test_an_experiment_with_a_wrong_name_is_refused(
    folder: Path, also: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / "wrong.toml"
    text = EXPERIMENT.replace('["beta_smooth(beta=0.8)", "smooth_grad(n_draws=2)"]', also)
    path.write_text(text.format(folder=folder, weights=WEIGHTS), encoding="utf-8")
    assert sweep.main([str(path), "--dry-run"]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1


def test_an_experiment_may_have_runs_with_and_without_further_explanations(folder: Path) -> None:
    path = folder / "both.toml"
    text = EXPERIMENT.replace('["beta_smooth(beta=0.8)", "smooth_grad(n_draws=2)"]', '[["lrp"], []]')
    path.write_text(text.format(folder=folder, weights=WEIGHTS), encoding="utf-8")
    items = sweep.read(path)
    assert [item.out.name for item in items[:4]] == [
        "gradient-topk-0.03-also=lrp.h5",
        "gradient-topk-0.03.h5",
        "gradient-topk-0.1-also=lrp.h5",
        "gradient-topk-0.1.h5",
    ]
    assert [len(item.files()) for item in items] == [2, 1] * 4
    assert [item.needs[-1].name for item in items[2:4]] == [item.out.name for item in items[:2]]


@pytest.mark.parametrize(
    ("also", "taken"),
    [
        ('["pattern_attribution"]', [True, True]),
        ('[["pattern_attribution", "lrp"], ["beta_smooth(base=lrp)"]]', [True, False, True, False]),
    ],
)
def test_an_experiment_gives_patterns_to_what_needs_them(folder: Path, also: str, taken: list[bool]) -> None:
    path = folder / "patterns.toml"
    text = EXPERIMENT.replace('["beta_smooth(beta=0.8)", "smooth_grad(n_draws=2)"]', also)
    text = text.replace("eps = [0.03, 0.1]\nfrom_smaller_eps = true", 'eps = 0.1\npatterns = "p.pt"')
    path.write_text(text.format(folder=folder, weights=WEIGHTS), encoding="utf-8")
    items = sweep.read(path)
    assert sorted("--patterns" in item.arguments for item in items) == sorted(taken)
    assert len({item.out for item in items}) == len(items)
    assert all(len(item.files()) > 1 for item in items)
