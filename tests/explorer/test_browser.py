"""The page in a real browser, chromium without a screen; one file, because all tests share the browser."""

import re
import shutil
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import lensmetrics as lm
from lensmetrics.tables.labels import number_text
from tests.explorer.asking import until
from tests.explorer.conftest import METRICS

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from lensmetrics.explorer.serving import Server  # noqa: E402 - where it can be imported

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium: apt-get install chromium"),
]
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
OPTIONS += ["--disable-sync", "--no-first-run"]
SAMPLE = "file=pgd.h5&position=3"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


class Seen:
    """Pages, and what they said and asked for that they should not."""

    def __init__(self, chromium: Any, server: Server) -> None:
        self.chromium, self.server = chromium, server
        self.wrong: list[str] = []
        self.contexts: list[Any] = []

    def page(self, fragment: str = "", width: int = 1300, **options: Any) -> Any:
        """Open the page with this fragment, and wait until its sample is drawn."""
        options.setdefault("accept_downloads", True)
        context = self.chromium.new_context(viewport={"width": width, "height": 900}, **options)
        self.contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("console", lambda message: self.wrong.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("request", self._check)
        page.goto(f"{self.server.address}#{fragment}")
        page.wait_for_selector("body[data-done]")
        page.wait_for_selector("body[data-sets]")
        return page

    def _check(self, request: Any) -> None:
        parts = urllib.parse.urlsplit(request.url)
        if parts.scheme not in ("blob", "data") and parts.hostname != "127.0.0.1":
            self.wrong.append(f"request of {request.url}")


@pytest.fixture
def seen(chromium: Any, server: Server) -> Iterator[Seen]:
    until(server)
    seen = Seen(chromium, server)
    yield seen
    for context in seen.contexts:
        context.close()
    assert seen.wrong == []


def soon(page: Any, condition: str) -> None:
    """Wait until a condition holds; the policy of the page keeps the driver from watching it itself."""
    end = time.monotonic() + 60
    while not page.evaluate(condition):
        assert time.monotonic() < end, condition
        time.sleep(0.02)


def shown(page: Any, metric: str) -> str:
    """Return the number that the page shows for a metric."""
    return str(page.inner_text(f"#scores tr[data-metric='{metric}'] td.value"))


def settled(page: Any, k: int, w: int) -> None:
    page.wait_for_selector(f"body[data-shown='{k},{w}'][data-sets='{k},{w}']")


def test_sliders_change_the_numbers_to_those_of_the_library(seen: Seen, paths: list[Path]) -> None:
    pair = lm.PairStore(paths[1])[3]
    page = seen.page(f"{SAMPLE}&k=3&w=0")
    names = ("lens_recall", "lens_precision", "topk_intersection", "lens_kendall", "topk_div_intersection")
    page.focus("#k")
    for k, key in ((4, "ArrowRight"), (5, "ArrowRight"), (4, "ArrowLeft"), (11, "End"), (1, "Home")):
        page.keyboard.press(key)
        settled(page, k, 0)
    page.focus("#w")
    for w in (1, 2):
        page.keyboard.press("ArrowRight")
        settled(page, 1, w)
    page.fill("#k-number", "7")
    page.press("#k-number", "Enter")
    settled(page, 7, 2)
    for name in names:
        given: dict[str, int] = {"w": 2} if name == "lens_kendall" else {"k": 7, "w": 2}
        if name == "topk_intersection":
            del given["w"]
        assert shown(page, name) == number_text(lm.get_metric(name, **given)(pair)), name
    assert shown(page, "ssim") == number_text(lm.ssim(pair))
    digits = re.findall(r"^Cosine: (.*)$", page.text_content("#digits"), re.MULTILINE)
    assert [float(text) for text in digits] == [lm.get_metric("cosine")(pair)]
    chance = page.inner_text("#scores tr[data-metric='lens_recall'] td.chance")
    assert chance == number_text(lm.lens_recall_chance(pair, k=7, w=2))
    soon(page, "document.getElementById('spoken').textContent.startsWith('k 7, w 2: LENS recall')")
    soon(page, "location.hash.includes('k=7') && location.hash.includes('w=2')")


def test_a_link_opens_the_same_view_in_another_run(seen: Seen, paths: list[Path]) -> None:
    page = seen.page()
    page.select_option("#metric", "kendall")
    page.click("th button[data-sort=kendall]")
    page.fill("#low", "-1")
    soon(page, "document.querySelectorAll('#body tr').length === 10")  # of the others there are no scores
    page.click("#body tr:nth-child(2) td")
    row = [page.inner_text(f"#body tr:nth-child(2) {cell}") for cell in ("td:last-child", "a")]
    soon(page, f"document.querySelector('#pair-title').innerText === {', sample '.join(row)!r}")
    page.select_option("#beside", index=1)
    page.check("input[value=near_p]")
    page.fill("#w-number", "3")
    page.press("#w-number", "Enter")
    page.click("#zoom-in")
    soon(page, "['zoom=', 'beside=', 'near_p', 'low=', 'w=3'].every((t) => location.hash.includes(t))")
    page.wait_for_selector("#panels canvas[data-place='1']")
    settled(page, 42, 3)
    view = "[...document.querySelectorAll('#pair-title, #scores, #body, #panels h3')].map((e) => e.innerText)"
    controls = "[...document.querySelectorAll('select, input')].map((e) => [e.id, e.value, e.checked])"
    with Server(paths[::-1], lm.evaluate(paths, METRICS)) as other:
        until(other)
        again = Seen(seen.chromium, other)
        link = again.page(page.evaluate("location.hash.slice(1)"))
        link.wait_for_selector("#panels canvas[data-place='1']")
        soon(link, f"JSON.stringify({view}) === {page.evaluate(f'JSON.stringify({view})')!r}")
        assert link.evaluate(controls) == page.evaluate(controls)
        assert link.evaluate("location.hash") == page.evaluate("location.hash")
        again.contexts[0].close()
        assert again.wrong == []


def test_the_keyboard_alone_finds_the_worst_sample(seen: Seen, paths: list[Path]) -> None:
    worst = lm.worst(lm.evaluate(paths, METRICS), METRICS[0], n=2)
    page = seen.page()

    def tab_to(wanted: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate(f"document.activeElement.matches({wanted!r})"):
                return
        raise AssertionError(f"Tab does not reach {wanted}")

    tab_to(f"th button[data-sort='{METRICS[0]}']")
    page.keyboard.press("Enter")
    page.wait_for_selector("th[aria-sort=ascending] button:focus")
    tab_to("#body a")
    page.keyboard.press("Home")
    for i, key in ((0, "Enter"), (1, "ArrowDown")):
        page.keyboard.press(key)
        name, sample = Path(worst["file"][i]).stem, worst["sample"][i]
        soon(page, f"document.querySelector('#pair-title').innerText === '{name}, sample {sample}'")
        assert page.evaluate("document.activeElement.closest('tr').getAttribute('aria-current')") == "true"
    tab_to("#k")
    tab_to("#panels")
    page.keyboard.press("ArrowLeft")
    soon(page, "document.querySelector('#pixel').innerText.startsWith('Row 3, column 2. unp')")


def test_pixels_zoom_and_pan_are_those_of_all_panels(seen: Seen, paths: list[Path]) -> None:
    pair = lm.PairStore(paths[1])[3]
    page = seen.page(f"{SAMPLE}&beside=natural.h5")
    canvas = page.locator("canvas[data-panel=perturbed][data-place='0']")
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 4.5 / 7, box["y"] + box["height"] * 2.5 / 6)
    u, p = (float(values[2, 4]) for values in (pair.unperturbed, pair.perturbed))
    soon(page, "document.querySelector('#pixel').innerText.startsWith('Row 2, column 4. pgd')")
    numbers = re.findall(r"perturbed (-?[\d.]+)", page.inner_text("#pixel"))
    assert [float(number) for number in numbers[:2]] == pytest.approx([u, p], rel=1e-4)
    touch = "getComputedStyle(document.querySelector('#panels canvas')).touchAction"
    assert page.evaluate(touch) == "pan-y"
    page.mouse.dblclick(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    soon(page, "/zoom=0.(49|50)\\d+%2C0.(49|50)\\d+%2C2/.test(location.hash)")
    soon(page, f"{touch} === 'none'")
    page.mouse.down()
    page.mouse.move(box["x"] - box["width"], box["y"] - box["height"], steps=3)
    page.mouse.up()
    soon(page, "location.hash.includes('zoom=0.7500%2C0.7500%2C2')")
    page.click("#zoom-reset")
    soon(page, "!location.hash.includes('zoom')")


def test_scatter_opens_what_one_clicks(seen: Seen) -> None:
    page = seen.page(SAMPLE)
    page.click("#scatter-part summary")
    soon(page, "document.querySelector('#scatter-text').innerText.includes('10 samples')")
    page.focus("#scatter")
    before = page.inner_text("#pair-title")
    page.keyboard.press("ArrowLeft")
    soon(page, f"document.querySelector('#pair-title').innerText !== {before!r}")
    before = page.inner_text("#pair-title")
    box = page.locator("#scatter").bounding_box()
    page.mouse.click(box["x"] + box["width"] - 5, box["y"] + 5)
    soon(page, f"document.querySelector('#pair-title').innerText !== {before!r}")


def test_a_picture_of_what_is_shown_is_saved(seen: Seen, tmp_path: Path) -> None:
    page = seen.page(f"{SAMPLE}&beside=natural.h5&k=5")
    with page.expect_download() as saved:
        page.click("#png")
    assert saved.value.suggested_filename == "pgd-16-k5-w1.png"
    saved.value.save_as(tmp_path / "shown.png")
    assert (tmp_path / "shown.png").read_bytes().startswith(b"\x89PNG")
    page.click("#python-part summary")
    assert page.inner_text("#python").count("lm.PairStore(") == 2


def test_a_damaged_sample_shows_its_sentence_and_the_page_lives_on(seen: Seen) -> None:
    page = seen.page("file=natural.h5&position=1")
    page.click("#body tr:nth-child(3) td")
    page.wait_for_selector("#problem:not([hidden])")
    assert "natural.h5, position 2: the maps of this sample do not match" in page.inner_text("#problem")
    assert not page.is_visible("#shown")
    # The browser itself notes the status of the answer.
    assert all("409" in line for line in seen.wrong)
    seen.wrong.clear()
    page.click("#body tr:nth-child(4) td")
    soon(page, "document.querySelector('#pair-title').innerText === 'natural, sample 16'")
    assert page.is_visible("#shown")
    assert not page.is_visible("#problem")
    # Beside another sample, it leaves that one shown, and says why it is not.
    page.evaluate("scrollTo(0, 400)")
    scrolled = page.evaluate("scrollY")  # less where the page is not that high yet
    assert scrolled > 100
    page.evaluate("location.hash = 'file=pgd.h5&position=2&beside=natural.h5'")
    soon(page, "document.querySelector('#problem').innerText.startsWith('natural.h5, position 2: the maps')")
    assert page.inner_text("#pair-title") == "pgd, sample 14"
    assert page.is_visible("#shown")
    # A browser follows changes of height by a few pixels; the page must not jump to its top.
    assert page.evaluate("scrollY") > scrolled / 2
    assert all("409" in line for line in seen.wrong)
    seen.wrong.clear()
    page.evaluate("location.hash = 'file=natural.h5&position=5'")
    page.wait_for_selector("#notes:not([hidden])")
    assert not page.is_visible("#problem")
    assert page.locator("canvas[data-panel=image]").count() == 0


def test_links_may_ask_for_what_is_not_there(seen: Seen) -> None:
    page = seen.page("position=3&k=abc&w=99999&only=bar.h5&beside=foo.h5")
    assert page.inner_text("#pair-title") == "natural, sample 16"
    assert sorted(page.inner_text("#problem").splitlines()) == [
        "There is no file bar.h5 here: choose another condition above the table.",
        "There is no file foo.h5 here to show beside it: choose another one.",
    ]
    settled(page, 42, 7)
    for k, w, k_used, w_used in (("5.5", "2.4", 6, 2), ("-3", "-1", 1, 0), ("1e9", "", 42, 1)):
        page.evaluate(f"location.hash = 'file=pgd.h5&position=3&k={k}&w={w}'")
        settled(page, k_used, w_used)
    soon(page, "document.querySelectorAll('#body tr').length === 12")
    assert not page.is_visible("#problem")
    page.evaluate("location.hash = 'file=gone.h5'")
    soon(
        page,
        "document.querySelector('#problem').innerText.startsWith('There is no file gone.h5 here: start')",
    )
    assert not page.is_visible("#shown")


def test_texts_of_files_are_never_markup(seen: Seen) -> None:
    page = seen.page(SAMPLE)
    assert "<b>top & k</b>" in page.inner_text("#facts")
    assert page.locator("b").evaluate_all("all => all.filter((b) => b.textContent).length") == 0


@pytest.mark.parametrize(
    ("fragment", "width", "options"),
    [
        (SAMPLE, 1300, {"color_scheme": "light"}),
        (f"{SAMPLE}&beside=natural.h5&layers=near_u,near_p,diverse_u", 1300, {"color_scheme": "dark"}),
        (f"{SAMPLE}&beside=natural.h5", 400, {"color_scheme": "light"}),
        (SAMPLE, 650, {"color_scheme": "dark", "device_scale_factor": 2}),  # as zoomed to 200 %
    ],
    ids=["light", "dark, two conditions", "400 pixels", "200 %"],
)
def test_the_rules_of_axe_hold(seen: Seen, fragment: str, width: int, options: dict[str, Any]) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    page = seen.page(fragment, width, **options)
    page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    soon(page, "document.querySelector('#scatter-text').innerText !== ''")
    found = axe.Axe().run(page).response["violations"]
    assert [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_page_of_the_server_is_all_that_it_loads(seen: Seen, server: Server) -> None:
    """What the page asks for are its own files and the answers, all below the token."""
    asked: list[str] = []
    page = seen.page()
    page.on("request", lambda request: asked.append(request.url))
    page.reload()
    page.wait_for_selector("body[data-sets]")
    assert len(asked) > 15
    assert all(url.startswith(server.address) for url in asked)
    kinds = {url.removeprefix(server.address).partition("?")[0].partition("#")[0] for url in asked}
    assert {
        "",
        "main.js",
        "style.css",
        "start",
        "state",
        "rows",
        "sample",
        "maps",
        "images",
        "scores",
    } <= kinds
