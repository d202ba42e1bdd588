"""A model, a dataset, an explanation and an attack of one's own, from the command line."""

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import lensmetrics as lm
from generators import generate, sweep, train
from generators.networks import checkpoints
from tests.generators import own_functions as own

OWN = "tests.generators.own_functions"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders with 8x8 images that the network of `own_functions` classifies as their folder says."""
    folder = tmp_path_factory.mktemp("own")
    pixels = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    labels = own.network()(torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255).argmax(1).tolist()
    assert set(labels) == {0, 1, 2}
    for split in ("train", "test"):
        for index, (image, label) in enumerate(zip(pixels, labels, strict=True)):
            place = folder / "shapes" / split / f"class{label}"
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(place / f"{index:02}.png")
    (folder / "shapes" / "test" / "notes").mkdir()  # a folder without images is no class
    return folder


def arguments(folder: Path, out: str, *more: str) -> list[str]:
    return [
        *("--dataset", "shapes", "--data", str(folder), "--device", "cpu", "--samples", "6"),
        *("--model", f"{OWN}:factory", "--checkpoint", "factory"),
        *("--explanation", "gradient", "--attack", "random_sign", "--eps", "0.02"),
        *("--out", str(folder / out), *more),
    ]


def run(folder: Path, out: str, *more: str) -> lm.PairStore:
    assert generate.main(arguments(folder, out, *more)) == 0
    return lm.PairStore(folder / out)


def maps(store: lm.PairStore) -> Any:
    with store.to_xarray() as file:
        return file.load()


def sentence(capsys: pytest.CaptureFixture[str]) -> str:
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert len(error) < 600
    return error


def test_every_name_is_stored_as_it_was_given(folder: Path) -> None:
    names = {"explanation": f"{OWN}:brightness", "attack": f"{OWN}:brighter", "model": f"{OWN}:hugging"}
    store = run(folder, "all.h5", *(word for name in names for word in (f"--{name}", names[name])))
    assert {name: store.attrs[name] for name in names} == names
    assert (store.attrs["dataset"], store.attrs["training"]) == ("shapes", "natural")
    assert store.attrs["natural_accuracy"] == 1
    file = maps(store)
    np.testing.assert_allclose(file["perturbation_linf"], 0.02, atol=1e-6)
    assert (file["unperturbed"] < file["perturbed"]).any()
    assert file["n_accepted"].to_numpy().tolist() == [1] * 6


def test_logits_of_an_object_are_those_of_the_network(folder: Path) -> None:
    plain, hugging = (maps(run(folder, f"{m}.h5", "--model", f"{OWN}:{m}")) for m in ("factory", "hugging"))
    assert (plain["output"] == hugging["output"]).all()
    assert (plain["perturbed"] == hugging["perturbed"]).all()


def test_weights_are_read_into_the_network_of_the_factory(folder: Path) -> None:
    state = {name: -value for name, value in own.network().state_dict().items()}
    torch.save(state, folder / "negative.pt")
    path, model = folder / "negative.pt", f"{OWN}:of_classes"
    network, facts = checkpoints.load(path, dataset="shapes", model=model, data=folder)
    image = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = own.network()
    expected.load_state_dict(state)
    torch.testing.assert_close(network(image), expected(image))
    assert facts["sha256"] == checkpoints.sha256(folder / "negative.pt")


def test_weights_of_a_parallel_network_are_those_of_the_network(folder: Path) -> None:
    """Also where the network itself has a layer of the name that is put before theirs."""
    image = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    for name, before in (("factory", "module."), ("called_module", ""), ("called_module", "module.")):
        state = {before + key: -value for key, value in getattr(own, name)().state_dict().items()}
        torch.save(state, folder / "parallel.pt")
        model = f"{OWN}:{name}"
        network, _ = checkpoints.load(folder / "parallel.pt", dataset="shapes", model=model, data=folder)
        expected = own.network()
        expected.load_state_dict({key: -value for key, value in expected.state_dict().items()})
        torch.testing.assert_close(network(image), expected(image))


def test_weights_may_have_any_type(folder: Path) -> None:
    store = run(folder, "half.h5", "--model", f"{OWN}:half")
    assert len(store.attrs["checkpoint_sha256"]) == 64


def test_finished_file_of_other_weights_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The factory draws its weights anew, so the file cannot be of them."""
    text = f"""
        out = "{folder}/fresh"
        [[generate]]
        dataset = "shapes"
        data = "{folder}"
        model = "{OWN}:fresh"
        checkpoint = "factory"
        explanation = "gradient"
        attack = "random_sign"
        eps = 0.01
        samples = 2
    """
    (folder / "fresh.toml").write_text(text, encoding="utf-8")
    assert sweep.main([str(folder / "fresh.toml")]) == 0
    capsys.readouterr()
    assert sweep.main([str(folder / "fresh.toml")]) == 2
    assert "was made from other weights than factory holds now" in sentence(capsys)


def test_sweep_takes_own_names(folder: Path) -> None:
    """Workers import them too: see ``test_one_failure_does_not_stop_the_others``."""
    text = f"""
        out = "{folder}/swept"
        [[generate]]
        dataset = "shapes"
        data = "{folder}"
        model = "{OWN}:factory"
        checkpoint = "factory"
        explanation = ["{OWN}:brightness", "captum:Saliency"]
        attack = ["{OWN}:inverted", "{OWN}:brighter"]
        eps = 0.01
    """
    (folder / "own.toml").write_text(text, encoding="utf-8")
    items = sweep.read(folder / "own.toml")
    assert [("--eps" in item.arguments) for item in items] == [False, True] * 2
    # A colon in a file's name is none on Windows, and a host for rsync.
    assert [items[i].out.name for i in (0, 3)] == [
        f"{OWN}_brightness-{OWN}_inverted.h5",
        f"captum_Saliency-{OWN}_brighter-0.01.h5",
    ]
    for name, wrong, reason in (
        ("captum:Saliency", "captum:Salience", "did you mean captum:Saliency"),
        (f"{OWN}:brighter", "brighter", r"attack: 'brighter' is no name; .* for your own give package\.mod"),
    ):
        (folder / "own.toml").write_text(text.replace(name, wrong), encoding="utf-8")
        with pytest.raises(ValueError, match=reason):
            sweep.read(folder / "own.toml")


# Models


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("squeezenet1_2", "'squeezenet1_2' is no name; did you mean squeezenet1_1 or squeezenet1_0"),
        ("squeezenet1_2", "for your own give package.module:factory"),
        ("nowhere.nets:make", "there is no module nowhere.nets, neither in "),
        ("nets.py:make", "write nets, without .py"),
        (f"{OWN}:facory", "has nothing called facory; did you mean factory"),
        (f"{OWN}:NUMBER", "has only an int called NUMBER"),
        (f"{OWN}:no_network", "returned a str; it must return a torch.nn.Module"),
        (f"{OWN}:needs_width", "needs width; it must take nothing, may take n_classes by keyword"),
        (f"{OWN}:tuples", "the model returns a tuple for two images; it must return a tensor of logits"),
        (f"{OWN}:first_only", "the model returns a tensor (1, 6) for two images; it must"),
        (f"{OWN}:misreading", "3 x 8 x 8 (channels, height, width): no such layer"),
        (f"{OWN}:gray", "the model cannot take images of 3 x 8 x 8"),
        ("a model:f", "must have the form package.module:function"),
        ("small_resnet", "--checkpoint factory stands for the weights of a --model package.module:factory"),
    ],
)
def test_model_that_is_none_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], model: str, reason: str
) -> None:
    assert generate.main(arguments(folder, "none.h5", "--model", model)) == 2
    assert reason in sentence(capsys)


def test_model_that_needs_a_missing_torchvision_says_so(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    assert generate.main(arguments(folder, "none.h5", "--model", "resnet18")) == 2
    assert "argument --model: torchvision cannot be imported" in sentence(capsys)


def test_import_that_fails_says_why(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "broken_here.py").write_text("import torch_that_is_missing\n", encoding="utf-8")
    monkeypatch.syspath_prepend(folder)
    assert generate.main(arguments(folder, "none.h5", "--model", "broken_here:f")) == 2
    expected = "importing broken_here fails with ModuleNotFoundError: No module named 'torch_that_is_missing'"
    assert expected in sentence(capsys)


def test_network_of_too_few_classes_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = folder / "many"
    for name in "abcd":
        (place / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(place / name / "0.png")
    assert generate.main(arguments(folder, "few.h5", "--dataset", "many")) == 2
    assert "the model has 3 classes, but many has 4; choose another --model" in sentence(capsys)


@pytest.mark.parametrize("option", ["--model", "--explanation", "--attack"])
def test_function_that_fails_is_named_with_the_line(
    folder: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    words = arguments(folder, "failing.h5", option, f"{OWN}:failing")
    at = words.index("--eps")
    given = [*words[:at], *words[at + 2 :]] if option == "--attack" else words
    assert generate.main(given) == 2
    line = next(
        number
        for number, text in enumerate(Path(own.__file__).read_text(encoding="utf-8").splitlines(), 1)
        if '["lost"]' in text
    )
    expected = f"{option} {OWN}:failing fails with KeyError: 'lost' (own_functions.py, line {line}); set"
    assert expected in sentence(capsys)


def test_sweep_goes_on_after_a_function_that_fails(folder: Path) -> None:
    text = f"""
        out = "{folder}/failing"
        [[generate]]
        dataset = "shapes"
        data = "{folder}"
        model = "{OWN}:factory"
        checkpoint = "factory"
        explanation = ["{OWN}:failing", "{OWN}:brightness"]
        attack = "random_sign"
        eps = 0.01
        samples = 2
    """
    (folder / "failing.toml").write_text(text, encoding="utf-8")
    assert sweep.main([str(folder / "failing.toml")]) == 1
    assert len(list((folder / "failing").rglob("*.h5"))) == 1


def test_network_that_numbers_classes_otherwise_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for label in range(3):
        place = folder / "turned" / f"class{(label + 1) % 3}"
        place.mkdir(parents=True)
        first = min((folder / "shapes" / "test" / f"class{label}").iterdir())
        (place / first.name).write_bytes(first.read_bytes())
    assert generate.main(arguments(folder, "turned.h5", "--dataset", "turned", "--samples", "2")) == 2
    assert "none of the 3 test samples is classified correctly" in sentence(capsys)


# Explanations


def test_differentiable_explanation_is_attacked_by_directed_attacks(folder: Path) -> None:
    topk = ("--attack", "topk", "--steps", "3", "--step-size", "0.01", "--attack-k", "9")
    store = run(folder, "squared.h5", "--explanation", f"{OWN}:squared", *topk)
    file = maps(store)
    assert file["n_accepted"].to_numpy().min() > 0
    expected = maps(run(folder, "gradient.h5"))["unperturbed"]  # abs_sum of squares is not a square of it
    assert (file["unperturbed"] <= expected**2 * 1.001).all()


def test_draws_come_from_the_seeds(folder: Path) -> None:
    first, second = (
        maps(run(folder, f"seeded{size}.h5", "--explanation", f"{OWN}:seeded", "--batch-size", size))
        for size in ("2", "6")
    )
    assert (first["perturbed"] == second["perturbed"]).all()


@pytest.mark.parametrize("method", ["Saliency", "Occlusion", "LayerGradCam", "GuidedGradCam"])
def test_methods_of_captum_have_maps_of_the_size_of_the_image(folder: Path, method: str) -> None:
    file = maps(run(folder, f"{method}.h5", "--explanation", f"captum:{method}"))
    assert file["unperturbed"].shape == (6, 8, 8)
    assert np.isfinite(file["unperturbed"]).all()
    assert (file["unperturbed"] != file["perturbed"]).any()


def test_saliency_of_captum_is_the_gradient(folder: Path) -> None:
    theirs, ours = (
        maps(run(folder, f"same-{i}.h5", "--explanation", name))["unperturbed"]
        for i, name in enumerate(("captum:Saliency", "gradient"))
    )
    np.testing.assert_allclose(theirs, ours, rtol=1e-5)
    assert "captum 0" in lm.PairStore(folder / "same-0.h5").attrs["versions"]


@pytest.mark.parametrize(
    ("explanation", "reason"),
    [
        ("gradeint", "'gradeint' is no name; did you mean gradient"),
        ("gradeint", "for your own give package.module:function, which takes (model, images, labels)"),
        ("captum:Salience", "'captum:Salience' is no name; did you mean captum:Saliency"),
        ("captum:NoiseTunnel", "captum:NoiseTunnel needs attribution_method, which has no default"),
        ("captum:NeuronGradient", "needs neuron_selector, which has no default; write a function"),
        ("captum:LayerActivation", "captum:LayerActivation explains no label; write a function"),
        ("captum:FeaturePermutation", "gives another map for an image alone than for the same image among"),
        (f"{OWN}:unseeded", "gives another map for an image alone than for the same image among others"),
        (f"{OWN}:mixing", "gives another map for an image alone than for the same image among others"),
        (f"{OWN}:undefined", "the explanation of the first image has NaN or infinite values"),
        (f"{OWN}:training", "left the network in training mode, in which it would give other outputs"),
        (f"{OWN}:flat", "returned a tensor (1,) for images (1, 3, 8, 8); it must return attributions"),
        (f"{OWN}:needs_layer", "needs layer; it must take (model, images, labels)"),
        (f"{OWN}:seeds_third", "has seeds where labels is given; it must take (model, images, labels)"),
        (f"{OWN}:factory", "has the parameters () -> torch.nn.modules.module.Module; it must"),
    ],
)
def test_explanation_that_is_none_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], explanation: str, reason: str
) -> None:
    assert generate.main(arguments(folder, "none.h5", "--explanation", explanation)) == 2
    assert reason in sentence(capsys)
    assert not list(folder.glob("none.h5*"))


def test_directed_attack_on_an_explanation_without_gradient_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    topk = ("--attack", "topk", "--steps", "3", "--step-size", "0.01", "--attack-k", "9")
    for name in (f"{OWN}:brightness", "captum:LayerGradCam"):
        assert generate.main(arguments(folder, "none.h5", "--explanation", name, *topk)) == 2
        assert "needs a gradient through the explanation" in sentence(capsys)


# Attacks


def test_attack_gets_the_explanation_and_its_options(folder: Path) -> None:
    store = run(folder, "away.h5", "--attack", f"{OWN}:away", "--explanation", f"{OWN}:squared")
    assert (store.attrs["eps"], store.attrs["steps"]) == (0.02, 2)  # the default of the function
    assert "step_size" not in store.attrs
    file = maps(store)
    assert (file["perturbed"].sum(("y", "x")) < file["unperturbed"].sum(("y", "x"))).any()


def test_functions_may_overwrite_the_images_that_they_get(folder: Path) -> None:
    for name, explanation, attack in (
        ("kept.h5", "brightness", "inverted"),
        ("spoilt.h5", "overwriting", "inverted_in_place"),
    ):
        more = ("--explanation", f"{OWN}:{explanation}", "--attack", f"{OWN}:{attack}")
        words = arguments(folder, name, *more)
        at = words.index("--eps")
        assert generate.main([*words[:at], *words[at + 2 :]]) == 0
    kept, spoilt = (maps(lm.PairStore(folder / name)) for name in ("kept.h5", "spoilt.h5"))
    assert (kept["n_accepted"] > 0).any()
    for name in ("unperturbed", "perturbed", "n_accepted", "output_perturbed", "perturbation_linf"):
        np.testing.assert_allclose(spoilt[name], kept[name], rtol=1e-5)


def test_images_that_change_the_label_do_not_count(folder: Path) -> None:
    words = arguments(folder, "inverted.h5", "--attack", f"{OWN}:inverted")
    at = words.index("--eps")
    assert generate.main([*words[:at], *words[at + 2 :]]) == 0
    store = lm.PairStore(folder / "inverted.h5")
    file = maps(store)
    changed = file["n_accepted"].to_numpy() == 0
    assert changed.any()
    assert (store.not_attacked == changed).all()
    assert (file["perturbation_linf"].to_numpy() == 0).tolist() == changed.tolist()
    assert (file["prediction_perturbed"] == file["label"]).all()
    assert np.isnan(store.attrs["eps"])


@pytest.mark.parametrize(
    ("attack", "reason"),
    [
        ("random_sing", "'random_sing' is no name; did you mean random_sign"),
        (f"{OWN}:too_far", "away from its own in a pixel; --eps allows 0.02"),
        (f"{OWN}:flat", "has the parameters (model: "),
        (
            f"{OWN}:eps_fourth",
            "has eps where randoms is given; it must take (model, images, labels, randoms)",
        ),
        (f"{OWN}:inverted", "--eps has no effect with --explanation gradient and --attack"),
    ],
)
def test_attack_that_is_none_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], attack: str, reason: str
) -> None:
    assert generate.main(arguments(folder, "bad.h5", "--attack", attack)) == 2
    assert reason in sentence(capsys)


@pytest.mark.parametrize(
    ("attack", "reason"),
    [
        ("too_bright", "returned pixels from "),
        ("nothing", "returned None; it must return perturbed images"),
    ],
)
def test_what_an_attack_returns_must_be_images(
    folder: Path, capsys: pytest.CaptureFixture[str], attack: str, reason: str
) -> None:
    words = arguments(folder, f"{attack}.h5", "--attack", f"{OWN}:{attack}")
    at = words.index("--eps")
    assert generate.main([*words[:at], *words[at + 2 :]]) == 2
    assert reason in sentence(capsys)


def test_attack_that_needs_a_gradient_gets_none_of_captum(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("--attack", f"{OWN}:away", "--explanation", "captum:Saliency")
    assert generate.main(arguments(folder, "none-of-captum.h5", *names)) == 2
    assert "the attack asks for maps with a gradient (differentiable=True)" in sentence(capsys)


# Settings that no table knows


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (("--attack", "topk"), "--steps and --step-size and --attack-k must be given for topk (none is"),
        (("--attack", "l2_topk"), "--steps and --step-size and --attack-k must be given for l2_topk"),
        (("--attack", "topk", "--strong"), "no k is published for shapes; give --attack-k"),
        (("--attack", "mass_center", "--strong"), "give --acceptance kendall "),
    ],
)
def test_unknown_settings_are_asked_for(
    folder: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], reason: str
) -> None:
    assert generate.main(arguments(folder, "asked.h5", *more)) == 2
    assert reason in sentence(capsys)


LOOP = ("--batch-size", "20", "--eps", "0.02", "--steps", "2", "--step-size", "0.01")


def train_arguments(folder: Path, out: str, *more: str) -> list[str]:
    return [
        *("--dataset", "shapes", "--data", str(folder), "--device", "cpu", "--epochs", "1"),
        *("--model", f"{OWN}:of_classes", "--out", str(folder / out), *more),
    ]


@pytest.mark.parametrize(
    ("training", "asked"),
    [
        ("natural", "give --batch-size and --eps and --steps and --step-size (eps"),
        ("art", "--step-size and --n-points and --inner-n-points and --weight (eps"),
    ],
)
def test_unknown_settings_of_a_training_are_asked_for(
    folder: Path, capsys: pytest.CaptureFixture[str], training: str, asked: str
) -> None:
    assert train.main(train_arguments(folder, "asked.pt", "--training", training)) == 2
    assert asked in sentence(capsys)


def test_network_without_logits_in_training_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ("--training", "natural", *LOOP, "--model", f"{OWN}:tuples_in_training")
    assert train.main(train_arguments(folder, "tuples.pt", *more)) == 2
    assert "the network returns a tuple in training mode; it must return logits" in sentence(capsys)


def test_own_network_is_trained_on_an_own_dataset_and_explained(folder: Path) -> None:
    more = ("--n-points", "2", "--inner-n-points", "2", "--weight", "0.1")
    assert train.main(train_arguments(folder, "ig.pt", "--training", "ig_norm", *LOOP, *more)) == 0
    _, facts = checkpoints.load(folder / "ig.pt", dataset="shapes", model=f"{OWN}:of_classes", data=folder)
    assert facts["pgd_settings"] == {"eps": 0.02, "steps": 2, "step_size": 0.01}
    weights = ("--checkpoint", str(folder / "ig.pt"), "--model", f"{OWN}:of_classes")
    store = run(folder, "trained.h5", *weights)
    assert store.attrs["training"] == "ig_norm"
    assert store.attrs["pgd_accuracy"] == facts["pgd_accuracy"]


def test_sweep_trains_on_an_own_dataset(folder: Path) -> None:
    text = f"""
        out = "{folder}/trained"
        [common]
        dataset = "shapes"
        data = "{folder}"
        model = "{OWN}:of_classes"
        device = "cpu"
        [[train]]
        training = "natural"
        epochs = 1
        batch_size = 20
        eps = 0.02
        steps = 1
        step_size = 0.02
        [[generate]]
        training = "natural"
        explanation = "gradient"
        attack = "random_sign"
        eps = 0.02
        samples = 2
    """
    (folder / "train.toml").write_text(text, encoding="utf-8")
    assert sweep.main([str(folder / "train.toml")]) == 0
    before = [path.stat().st_mtime_ns for path in sorted((folder / "trained").rglob("*.*"))]
    assert len(before) == 2
    assert sweep.main([str(folder / "train.toml")]) == 0
    assert [path.stat().st_mtime_ns for path in sorted((folder / "trained").rglob("*.*"))] == before


# The page


PAGE = (Path(generate.__file__).parent / "README.md").read_text(encoding="utf-8")
PIECES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_functions_of_the_page_are_taken(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = [piece for piece in PIECES if "def towards_the_label" in piece]
    (folder / "mine.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(folder)
    names = ("--explanation", "mine:squared_gradient", "--attack", "mine:towards_the_label")
    store = run(folder, "page.h5", *names)
    assert (maps(store)["n_accepted"] == 1).all()
    np.testing.assert_allclose(maps(store)["perturbation_linf"], 0.02, atol=1e-6)
    topk = ("--attack", "topk", "--steps", "1", "--step-size", "0.02", "--attack-k", "9")
    assert (maps(run(folder, "page-topk.h5", *names[:2], *topk))["n_accepted"] == 1).any()


def test_loop_of_the_page_writes_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = [piece for piece in PIECES if "as writer" in piece and "attack(model, x, y)" in piece]
    images = torch.rand(40, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    model = own.network()
    given = {
        "images": images,
        "labels": model(images).argmax(1),
        "model": model,
        "attack": lambda model, x, y: (x + 8 / 255).clamp(0, 1),
        "explain": own.squared,
    }
    monkeypatch.chdir(tmp_path)
    exec(code.replace("k=100", "k=10"), given)
    scores: Any = given["scores"]
    assert len(scores) == 40
    assert scores["topk_intersection(k=10)"].between(0, 1).all()
    assert scores["status"].str.contains("label_changed").any()
