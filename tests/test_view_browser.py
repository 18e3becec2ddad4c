"""The page to look at predictions, as a person uses it: in a headless Chromium, by mouse and keys.

Expected values come from NumPy, SciPy and the package, never from the page's own program.
"""

import numpy as np
import pytest
from browser import DESKTOP, PHONE, chromium, errors, requests, show, wait
from scipy import ndimage
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.by import By

from unetcore.data.phantom_em import draw_sections
from unetcore.evaluate import OF_CELLS, OF_MEMBRANES, evaluate
from unetcore.instances import instances
from unetcore.view import LEVELS, write_view

pytestmark = pytest.mark.browser

SIDE = 120
SMALLEST = 40
LEAST_TARGET = 40  # CSS px of what a finger has to hit


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def stack():
    """Three sections with labels, a noisy probability with splits and mergers, and cells."""
    rng = np.random.default_rng(1)
    images, labels = draw_sections(rng, 3, SIDE)
    blurred = ndimage.gaussian_filter(rng.normal(0, 1, labels.shape), (0, 2, 2))
    probability = np.where(labels > 0, 0.8, 0.2) + blurred
    probability[:, 60:63] = 0.1  # splits
    probability[:, 20:23] = 0.9  # mergers
    probability = probability.clip(0, 1).astype(np.float32)
    cells = np.stack([instances(p, smallest_object=SMALLEST) for p in probability])
    return images, labels, probability, cells


@pytest.fixture(scope="module")
def metrics(stack):
    _, labels, probability, cells = stack
    return evaluate(OF_MEMBRANES + OF_CELLS, labels, probability, segmentation=cells)


@pytest.fixture(scope="module")
def page(stack, metrics, tmp_path_factory):
    images, labels, probability, cells = stack
    path = tmp_path_factory.mktemp("view") / "view.html"
    ignored = np.zeros(labels.shape, bool)
    ignored[0, :20, :20] = True
    write_view(
        path,
        images,
        probability,
        labels=labels,
        ignored=ignored,
        segmentation=cells,
        metrics=metrics,
        title="Phantom",
        names=["a", "b", "c"],
        smallest_object=SMALLEST,
    )
    return path


@pytest.fixture
def opened(browser, page):
    show(browser, page)
    yield browser
    assert errors(browser) == []


def element(browser, name):
    return browser.find_element(By.ID, name)


def text(browser, name):
    return element(browser, name).text


def set_range(browser, name, value):
    """Move a slider to a value by keys, as a person without a mouse does."""
    slider = element(browser, name)
    now = int(slider.get_property("value"))
    slider.send_keys((Keys.ARROW_RIGHT if value > now else Keys.ARROW_LEFT) * abs(value - now))
    wait(browser, f"return Number(document.getElementById('{name}').value)", value)


def choose_overlay(browser, kind):
    browser.find_element(By.CSS_SELECTOR, f"#overlay [value={kind}]").click()
    wait(browser, "return document.body.dataset.shown.split(' ')[2]", kind)


def go_to_slice(browser, index):
    set_range(browser, "slice", index)
    wait(browser, "return Number(document.body.dataset.shown.split(' ')[0])", index)


def click_image(browser, y, x):
    """Click the middle of a pixel of the image."""
    script = f"return camera.toScreen({x + 0.5}, {y + 0.5})"
    left, top = browser.execute_script(script)
    canvas = element(browser, "canvas")
    size = canvas.rect
    actions = ActionChains(browser, duration=0)
    offset = (round(left - size["width"] / 2), round(top - size["height"] / 2))
    actions.move_to_element_with_offset(canvas, *offset).click().perform()


def click_beside_dot(browser, number, right):
    """Click so many px to the right of a threshold that was measured."""
    dot = element(browser, "curve").find_elements(By.CSS_SELECTOR, ".dot")[number]
    actions = ActionChains(browser, duration=0).move_to_element_with_offset(dot, right, 0)
    actions.click().perform()


def facts(browser):
    """What is said of the object that is selected."""
    terms = browser.find_elements(By.CSS_SELECTOR, "#object dt")
    values = browser.find_elements(By.CSS_SELECTOR, "#object dd")
    return {term.text: value.text for term, value in zip(terms, values, strict=True)}


def canvas_colours(browser):
    """Number of colours on the canvas, and its mean: tells whether something else was drawn."""
    return browser.execute_script(
        "const c = document.getElementById('canvas');"
        "const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
        "let sum = 0; for (const v of d) sum += v;"
        "return [new Set(new Uint32Array(d.buffer)).size, sum]"
    )


def test_page_opens_without_an_error_and_asks_for_nothing(browser, page):
    show(browser, page)
    assert errors(browser) == []
    assert requests(browser) == [page.as_uri()]
    assert browser.title == "Phantom"
    assert text(browser, "summary") == "3 slices, 120 × 120 px"
    assert canvas_colours(browser)[0] > 1000


def test_a_request_to_another_place_is_seen_and_refused(browser, page):
    """What the test above would say of a page that asks for something."""
    show(browser, page)
    browser.execute_script(
        "fetch('http://127.0.0.1:9/x').catch(() => document.body.id = 'refused')"
    )
    wait(browser, "return document.body.id", "refused")
    assert any("Content Security Policy" in message for message in errors(browser))


@pytest.mark.parametrize("level", [0, 1, 77, 100, 160, LEVELS])
def test_foreground_at_every_threshold_is_that_of_the_exact_map(opened, stack, level):
    set_range(opened, "threshold", level)
    assert text(opened, "threshold-value") == f"{level / LEVELS:.3f}"
    n = np.count_nonzero(stack[2][0] > level / LEVELS)
    share = 100 * n / SIDE**2
    assert text(opened, "foreground") == f"{n:,} px above it, {share:.1f} % of this slice"


@pytest.mark.parametrize("level", [40, 100, 150])
@pytest.mark.parametrize("smallest", [0, SMALLEST])
def test_objects_are_those_of_the_package_pixel_by_pixel(opened, stack, level, smallest):
    choose_overlay(opened, "objects")
    field = element(opened, "smallest")
    field.clear()
    field.send_keys(str(smallest))
    set_range(opened, "threshold", level)
    for z in range(3):
        go_to_slice(opened, z)
        wait(opened, "return Number(document.body.dataset.shown.split(' ')[1])", level)
        labels = np.reshape(opened.execute_script("return [...objects.labels]"), (SIDE, SIDE))
        expected = instances(stack[2][z], threshold=level / LEVELS, smallest_object=smallest)
        np.testing.assert_array_equal(labels, expected)
        assert text(opened, "count") == str(expected.max())


def test_components_of_random_pixels_are_those_of_scipy(opened):
    """Diagonals, holes, nested rings: everything that union-find can get wrong."""
    rng = np.random.default_rng(0)
    for density in (0.2, 0.4, 0.5, 0.6, 0.8):
        white = rng.random((37, 53)) < density
        expected, n = ndimage.label(white, np.ones((3, 3)))
        script = "const c = components(arguments[0], 53, 37, 0); return [[...c.labels], c.count]"
        labels, count = opened.execute_script(script, white.astype(int).ravel().tolist())
        assert count == n
        np.testing.assert_array_equal(np.reshape(labels, white.shape), expected)


def test_holes_of_random_pixels_are_filled_as_by_the_package(opened):
    rng = np.random.default_rng(0)
    n_filled = 0
    for density in (0.3, 0.5, 0.6, 0.7, 0.9):
        p = np.where(rng.random((37, 53)) < density, 0.9, 0.1)
        open_ones = instances(p, smallest_object=0)
        expected = instances(p, smallest_object=0, fill_holes=True)
        script = "fillHoles(arguments[0], 53, 37); return arguments[0]"
        found = opened.execute_script(script, open_ones.ravel().tolist())
        np.testing.assert_array_equal(np.reshape(found, p.shape), expected)
        n_filled += np.count_nonzero(expected != open_ones)
    assert n_filled > 100


def test_filled_holes_count_to_the_area_of_their_object(opened, stack):
    choose_overlay(opened, "objects")
    element(opened, "fill-holes").click()
    expected = instances(stack[2][0], smallest_object=SMALLEST, fill_holes=True)
    labels = opened.execute_script("return [...objects.labels]")
    np.testing.assert_array_equal(np.reshape(labels, (SIDE, SIDE)), expected)
    bare = instances(stack[2][0], smallest_object=SMALLEST)
    areas, before = np.bincount(expected.ravel()), np.bincount(bare.ravel())
    (number, *_) = np.flatnonzero(areas[1:] > before[1:]) + 1
    for _ in range(number):
        element(opened, "object-after").click()
    assert facts(opened)["Area"] == f"{areas[number]:,} px"


def test_margin_leaves_out_what_lies_wholly_in_it(browser, stack, tmp_path):
    images, _, probability, _ = stack
    path = tmp_path / "view.html"
    write_view(path, images, probability, smallest_object=0, border=15)
    show(browser, path)
    labels = browser.execute_script("return [...objects.labels]")
    expected = instances(probability[0], smallest_object=0, border=15)
    np.testing.assert_array_equal(np.reshape(labels, (SIDE, SIDE)), expected)
    assert expected.max() < instances(probability[0], smallest_object=0).max()


def test_clicked_object_says_its_number_area_and_mean(opened, stack):
    choose_overlay(opened, "objects")
    go_to_slice(opened, 1)
    expected = instances(stack[2][1], smallest_object=SMALLEST)
    for number in (1, 5, int(expected.max())):
        member = expected == number
        depth = ndimage.distance_transform_edt(member)
        click_image(opened, *np.unravel_index(depth.argmax(), depth.shape))
        said = facts(opened)
        y, x = ndimage.center_of_mass(member)
        assert said["Object"] == f"{number} of {expected.max()}"
        assert said["Area"] == f"{member.sum():,} px"
        assert float(said["Mean probability"]) == pytest.approx(
            stack[2][1][member].mean(), abs=0.5 / LEVELS + 0.005
        )
        place = [int(part) for part in said["Centre (x, y)"].split(", ")]
        np.testing.assert_allclose(place, [x, y], atol=0.51)
    click_image(opened, *np.argwhere(expected == 0)[0])
    assert facts(opened) == {}


def test_stepping_goes_through_objects_by_number_and_smallest_first(opened, stack):
    choose_overlay(opened, "objects")
    areas = np.bincount(instances(stack[2][0], smallest_object=SMALLEST).ravel())[1:]
    forward, backward = element(opened, "object-after"), element(opened, "object-before")
    for k in (0, 1, 2):
        forward.click()
        assert facts(opened)["Object"] == f"{k + 1} of {len(areas)}"
    backward.click()
    assert facts(opened)["Area"] == f"{areas[1]:,} px"
    opened.find_element(By.CSS_SELECTOR, "#order [value=area]").click()
    opened.execute_script("select(null)")
    for area in np.sort(areas)[:3]:
        forward.click()
        assert facts(opened)["Area"] == f"{area:,} px"


def test_cells_that_were_segmented_before_keep_their_numbers(opened, stack):
    choose_overlay(opened, "cells")
    cells = stack[3][2]
    go_to_slice(opened, 2)
    assert text(opened, "count") == str(cells.max())
    depth = ndimage.distance_transform_edt(cells == 4)
    click_image(opened, *np.unravel_index(depth.argmax(), depth.shape))
    assert facts(opened)["Object"] == "4"
    assert facts(opened)["Area"] == f"{np.count_nonzero(cells == 4):,} px"


def test_slices_change_by_slider_buttons_and_keys(opened):
    assert text(opened, "slice-name") == "a (1 of 3)"
    before = canvas_colours(opened)
    element(opened, "slice-after").click()
    wait(opened, "return document.body.dataset.shown[0]", "1")
    assert text(opened, "slice-name") == "b (2 of 3)"
    assert canvas_colours(opened) != before
    element(opened, "canvas").send_keys(Keys.ARROW_RIGHT)
    wait(opened, "return document.body.dataset.shown[0]", "2")
    element(opened, "canvas").send_keys(Keys.ARROW_RIGHT)  # there is no fourth
    element(opened, "canvas").send_keys(Keys.ARROW_LEFT)
    wait(opened, "return document.body.dataset.shown[0]", "1")
    go_to_slice(opened, 0)
    assert canvas_colours(opened) == before


def test_curve_shows_what_was_measured_and_a_click_sets_the_threshold(opened, metrics):
    curve = element(opened, "curve")
    found = metrics["warping_error"]
    assert len(curve.find_elements(By.CSS_SELECTOR, ".dot")) == len(found["thresholds"])
    assert f"at {found['threshold']:.2f} is its best" in curve.get_attribute("aria-label")
    click_beside_dot(opened, 7, 3)  # near enough to be meant
    assert text(opened, "threshold-value") == "0.700"
    click_beside_dot(opened, 7, 10)
    assert 0.73 < float(text(opened, "threshold-value")) < 0.76
    click_beside_dot(opened, 3, 0)
    assert text(opened, "threshold-value") == "0.300"
    shown = [label.text for label in curve.find_elements(By.CSS_SELECTOR, ".strong")]
    assert float(shown[0]) == pytest.approx(found["values"][3], rel=1e-2)
    element(opened, "best").click()
    assert text(opened, "threshold-value") == f"{found['threshold']:.3f}"


@pytest.mark.parametrize("name", OF_MEMBRANES)
def test_every_metric_has_its_curve_and_its_best_value(opened, metrics, name):
    opened.find_element(By.CSS_SELECTOR, f"#metric [value={name}]").click()
    found = metrics[name]
    said = text(opened, "best").removeprefix("Best: ").split(" at ")
    assert float(said[0]) == pytest.approx(found["value"], rel=1e-2)
    assert float(said[1]) == pytest.approx(found["threshold"], abs=0.005)
    best = element(opened, "curve").find_element(By.CSS_SELECTOR, ".best")
    dots = element(opened, "curve").find_elements(By.CSS_SELECTOR, ".dot")
    heights = [float(dot.get_attribute("cy")) for dot in dots]
    extreme = max(heights) if name.endswith("error") else min(heights)  # y points down
    assert float(best.get_attribute("cy")) == pytest.approx(extreme)


def test_scores_of_cells_are_said(opened, metrics):
    seg, iou = metrics["seg"]["value"], metrics["iou"]["value"]
    assert text(opened, "scores") == f"SEG {seg:.4f}, IoU {iou:.4f}"


@pytest.mark.parametrize("name", ["warping_error", "rand_error"])
@pytest.mark.parametrize("kind", ["splits", "mergers"])
def test_click_on_a_split_or_merger_goes_there(opened, metrics, name, kind):
    opened.find_element(By.CSS_SELECTOR, f"#metric [value={name}]").click()
    places = metrics[name][kind]["largest"]
    buttons = opened.find_elements(By.CSS_SELECTOR, f"#places-lists [data-kind={kind}]")
    assert len(buttons) == len(places) > 0
    for place, button in list(zip(places, buttons, strict=True))[:3]:
        opened.execute_script("camera.fit(); showSlice((arguments[0] + 1) % 3)", place["z"])
        button.click()
        wait(opened, "return document.body.dataset.shown[0]", str(place["z"]))
        parts = place.get("parts", [place])
        width, height = opened.execute_script("return camera.size")
        for part in parts:
            script = f"return camera.toScreen({part['x'] + 0.5}, {part['y'] + 0.5})"
            left, top = opened.execute_script(script)
            assert 0 <= left <= width
            assert 0 <= top <= height
        assert "abc"[place["z"]] in button.text
        assert f"{place['pixels']:,} px" in button.text
        assert button.get_attribute("aria-current") == "true"


def test_overlays_outlines_and_marks_are_drawn_and_can_be_left_out(opened):
    seen = [canvas_colours(opened)]
    for kind in ("probability", "mask", "objects"):
        choose_overlay(opened, kind)
        seen.append(canvas_colours(opened))
    for name in ("reference", "marks"):
        element(opened, name).click()
        opened.execute_script("return new Promise(requestAnimationFrame)")
        seen.append(canvas_colours(opened))
    set_range(opened, "opacity", 0)
    opened.execute_script("return new Promise(requestAnimationFrame)")
    seen.append(canvas_colours(opened))
    assert len({total for _, total in seen}) == len(seen) - 1  # cells are objects, at this size
    assert element(opened, "ignored-key").is_displayed()


def test_wheel_zooms_where_it_points_and_dragging_moves(opened):
    canvas = element(opened, "canvas")
    y, x = 30, 80
    left, top = opened.execute_script(f"return camera.toScreen({x}, {y})")
    opened.execute_script(
        "const box = arguments[0].getBoundingClientRect();"
        "arguments[0].dispatchEvent(new WheelEvent('wheel', {deltaY: -600, cancelable: true,"
        "clientX: box.left + arguments[1], clientY: box.top + arguments[2]}))",
        canvas, left, top,
    )  # fmt: skip
    after = opened.execute_script(f"return [...camera.toScreen({x}, {y}), camera.zoom]")
    np.testing.assert_allclose(after[:2], [left, top], atol=1)
    before = opened.execute_script("return camera.x")
    ActionChains(opened, duration=0).click_and_hold(canvas).move_by_offset(
        -80, 0
    ).release().perform()
    assert opened.execute_script("return camera.x") == pytest.approx(before + 80 / after[2])
    element(opened, "zoom-fit").click()
    assert opened.execute_script("return camera.zoom == camera.fitZoom")
    element(opened, "zoom-in").click()
    assert opened.execute_script("return camera.zoom / camera.fitZoom") == pytest.approx(1.5)


def test_keys_do_what_the_page_says_of_them(opened):
    canvas = element(opened, "canvas")
    canvas.send_keys("]]")
    assert text(opened, "threshold-value") == "0.510"
    canvas.send_keys("[")
    assert text(opened, "threshold-value") == "0.505"
    canvas.send_keys("n")
    assert facts(opened)["Object"] == "1"
    canvas.send_keys(Keys.ESCAPE)
    assert facts(opened) == {}
    canvas.send_keys("o")
    wait(opened, "return document.body.dataset.shown.split(' ')[2]", "probability")
    canvas.send_keys("rm")
    assert not element(opened, "reference").is_selected()
    assert not element(opened, "marks").is_selected()
    canvas.send_keys("++")
    zoomed = opened.execute_script("return [camera.zoom, camera.x]")
    canvas.send_keys(Keys.SHIFT + Keys.ARROW_RIGHT)
    assert opened.execute_script("return camera.x") > zoomed[1]
    canvas.send_keys("0")
    assert opened.execute_script("return camera.isFit")
    field = element(opened, "smallest-row")
    assert field.is_displayed()
    element(opened, "smallest").send_keys("0")  # a digit in a field is no key of the page
    assert element(opened, "smallest").get_property("value") == f"{SMALLEST}0"


def test_every_control_is_reached_by_the_tab_key_and_has_a_name(opened):
    opened.execute_script("document.querySelectorAll('details').forEach((d) => d.open = true)")
    reached = set()
    for _ in range(60):
        ActionChains(opened, duration=0).send_keys(Keys.TAB).perform()
        reached.add(opened.execute_script("return document.activeElement.id || 'other'"))
    ids = {
        "canvas", "zoom-in", "zoom-out", "zoom-fit", "slice", "threshold", "metric", "best",
        "opacity", "reference", "marks", "object-after", "order",
    }  # fmt: skip
    assert ids <= reached
    for control in opened.find_elements(By.CSS_SELECTOR, "button, input, select, canvas, svg.plot"):
        if control.is_displayed():
            assert control.accessible_name, control.get_attribute("outerHTML")


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("overlay", ["objects", "cells", "probability"])
def test_phone_shows_all_without_scrolling_sideways_and_can_be_hit(browser, page, dark, overlay):
    show(browser, page, size=PHONE, dark=dark)
    choose_overlay(browser, overlay)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= PHONE[0]
    small = browser.execute_script(
        """
        const boxes = (e) => [e, e.closest("label")].filter(Boolean)
          .map((e) => e.getBoundingClientRect());
        const isHit = (box) => Math.min(box.width, box.height) >= arguments[0] && box.left >= 0
          && box.right <= innerWidth;
        return [...document.querySelectorAll("button, select, input, summary")]
          .filter((e) => e.getClientRects().length && !boxes(e).some(isHit))
          .map((e) => e.outerHTML);
        """,
        LEAST_TARGET,
    )
    assert small == []
    canvas = element(browser, "canvas").rect
    assert canvas["width"] == PHONE[0]
    assert element(browser, "threshold").rect["y"] > canvas["y"] + canvas["height"]
    assert errors(browser) == []


def test_image_stays_in_view_on_a_phone(browser, page):
    show(browser, page, size=PHONE)
    browser.execute_script("window.scrollTo(0, 700)")
    script = "return document.getElementById('canvas').getBoundingClientRect().top"
    assert browser.execute_script(script) == pytest.approx(0, abs=1)


def touch(browser, *paths):
    """Move fingers along paths of places on the screen, all at a time."""
    send = browser.execute_cdp_cmd
    for step, places in enumerate(zip(*paths, strict=True)):
        points = [{"x": x, "y": y, "id": k} for k, (x, y) in enumerate(places)]
        kind = "touchMove" if step else "touchStart"
        send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def test_swipe_changes_the_slice_pinch_zooms_and_tap_selects(browser, page):
    show(browser, page, size=PHONE)
    touch(browser, [(300, 250), (260, 251), (200, 252), (150, 252)])
    wait(browser, "return document.body.dataset.shown[0]", "1")
    touch(browser, [(100, 250), (160, 250), (250, 250)])
    wait(browser, "return document.body.dataset.shown[0]", "0")
    touch(
        browser,
        [(180, 250), (150, 250), (100, 250)],
        [(220, 250), (250, 250), (300, 250)],
    )
    wait(browser, "return camera.zoom > 2 * camera.fitZoom")
    x, y = browser.execute_script(
        "const o = objects.kept.find((o) => o.pixels > 200); const i = o.seed + page.width;"
        "camera.lookAt(i % page.width, Math.floor(i / page.width), camera.zoom); draw();"
        "const box = document.getElementById('canvas').getBoundingClientRect();"
        "const [x, y] = camera.toScreen(i % page.width + 0.5, Math.floor(i / page.width) + 0.5);"
        "return [box.left + x, box.top + y]"
    )
    touch(browser, [(x, y)])
    wait(browser, "return state.selected !== null")
    assert errors(browser) == []


@pytest.mark.parametrize("dark", [False, True])
def test_text_can_be_read_in_light_and_in_dark(browser, page, dark):
    """Contrast of at least 4.5 to 1 (WCAG AA) between every text and the ground behind it."""
    show(browser, page, size=DESKTOP, dark=dark)
    pairs = browser.execute_script(
        """
        const ground = (e) => {
          for (; e; e = e.parentElement) {
            const colour = getComputedStyle(e).backgroundColor;
            if (!colour.includes("rgba(0, 0, 0, 0)")) return colour;
          }
          return "rgb(255, 255, 255)";
        };
        const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
        const found = new Set();
        while (texts.nextNode()) {
          const e = texts.currentNode.parentElement;
          if (!texts.currentNode.data.trim() || e.closest("script, noscript, svg")) continue;
          found.add(getComputedStyle(e).color + " on " + ground(e));
        }
        return [...found];
        """
    )
    assert len(pairs) > 3
    for pair in pairs:
        first, second = (
            np.array([float(n) for n in colour.strip("rgba()").split(",")[:3]]) / 255
            for colour in pair.split(" on ")
        )
        lights = sorted(luminance(colour) + 0.05 for colour in (first, second))
        assert lights[1] / lights[0] >= 4.5, pair
    background = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, background.strip("rgb()").split(","))) < 150) == dark


def luminance(colour):
    """Relative luminance of red, green and blue in 0 to 1 (WCAG 2)."""
    linear = np.where(colour <= 0.03928, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def test_reduced_page_says_so_and_counts_areas_of_the_whole(browser, stack, tmp_path):
    images, _, probability, _ = stack
    path = tmp_path / "view.html"
    write_view(
        path, images, probability, max_side=60, pages=[0, 2], smallest_object=100, pixel_size=0.5
    )
    show(browser, path)
    assert text(browser, "summary") == "2 of 3 slices, 120 × 120 px, reduced 2 times"
    means = probability[0].reshape(60, 2, 60, 2).mean(axis=(1, 3), dtype=np.float32)
    expected = instances(means, smallest_object=25)
    assert text(browser, "count") == str(expected.max())
    element(browser, "object-after").click()
    area = 4 * np.count_nonzero(expected == 1)
    assert facts(browser)["Area"].startswith(f"{area:,} px, ")
    assert facts(browser)["Area"].endswith(" µm²")
    assert element(browser, "scale").is_displayed()
    assert errors(browser) == []


def test_page_of_a_single_colour_image_without_labels(browser, tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "view.html"
    write_view(path, rng.random((1, 3, 40, 70)), rng.random((1, 40, 70), np.float32))
    show(browser, path)
    assert text(browser, "summary") == "1 slice, 70 × 40 px"
    for name in ("slices", "curve-box", "reference-row", "marks-row", "places", "ignored-key"):
        assert not element(browser, name).is_displayed(), name
    assert errors(browser) == []
