"""The gallery: each recipe has a card, the page is complete and small, and errors are clear."""

import re
from pathlib import Path

import pytest
from pages import Page

from pushforward.datasets import TOY_NAMES
from pushforward.recipes import RECIPES
from pushforward.reporting.gallery import BY_NAME, CARDS

FAMILIES = ("linear", "planar")
LARGEST = 8_000_000


@pytest.fixture(scope="module")
def page_and_result(tmp_path_factory):
    """A quick page of two families, one of them requested by its recipe, and the printed JSON."""
    import contextlib
    import io
    import json

    from pushforward.cli.app import run

    path, out = tmp_path_factory.mktemp("gallery") / "g.html", io.StringIO()
    with contextlib.redirect_stdout(out):
        code = run(["gallery", "-o", str(path), "--families", "planar_flow,linear", "--quick", "--json"])
    assert code == 0
    return path, json.loads(out.getvalue())


def test_each_family_has_a_card_and_each_recipe_at_most_one():
    """A file of recipes is a family: a recipe without a card is a variant of one in its file that has a card."""
    recipes = [recipe for card in CARDS for recipe in card.recipes]
    assert len(set(recipes)) == len(recipes), "a recipe in two cards"
    assert set(recipes) <= set(RECIPES), "a card of no recipe"
    families = {RECIPES[recipe].__module__ for recipe in recipes}
    assert {recipe.__module__ for recipe in RECIPES.values()} == families, "a family without a card"
    assert len(BY_NAME) == len(CARDS)


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_card_is_complete(card):
    assert card.depths == tuple(sorted(set(card.depths)))
    assert card.n_layers in card.depths
    assert (card.note != "") == ((card.depths, card.n_layers, card.most_dim) != ((1, 2, 10, 32), 10, 128))
    for text in (card.title, card.formula, card.jacobian, card.use, card.density_cost, card.sample_cost):
        assert text
    assert re.sub(r"<(\w+)>", "", card.formula).count("</") == len(re.findall(r"<\w+>", card.formula))
    for text in (card.jacobian, card.use, card.density_cost, card.sample_cost):
        assert text.endswith(".")


def test_page_has_the_cards_and_no_external_resources(page_and_result):
    path, result = page_and_result
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert result["bytes"] == len(text.encode()) < LARGEST
    for card in CARDS:
        assert (f'<article id="{card.name}">' in text) == (card.name in FAMILIES)
        assert (card.formula in text) == (card.name in FAMILIES)
    assert not re.search(r"\bnan\b", page.text, re.IGNORECASE)
    assert not re.search(r'="[^"]*\b(nan|inf)\b', re.sub(r'src="[^"]*"', "", text))
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "iframe", "object", "embed")
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href"):
                assert value.startswith(("#", "data:image/png;base64,"))
    pictures = [attributes for tag, attributes in page.tags if tag == "img"]
    assert all(attributes["alt"] for attributes in pictures)
    # true shapes in the table; for each family the grid, the Gaussian and the square of one depth, and the fits
    assert len(pictures) == 8 + 2 * (3 + 8)
    assert len({attributes["src"] for attributes in pictures}) > 20  # after little training two families may look alike


def test_printed_numbers_are_on_the_page(page_and_result):
    path, result = page_and_result
    text = Page(path.read_text(encoding="utf-8")).text
    assert list(result["families"]) == list(FAMILIES)
    for family in result["families"].values():
        assert set(family["nats"]) == set(TOY_NAMES)
        for shape, score in family["nats"].items():
            assert score < result["true_nats"][shape]
            assert f"{score:.2f}".replace("-", "\N{MINUS SIGN}") in text
        for line in family["seconds_a_row"].values():
            assert len(line) == len(family["dims"])
            assert min(line) > 0


def test_unknown_family_is_refused(command):
    result = command("gallery", "--families", "planar,spherical")
    assert result.code == 2
    assert result.err.count("\n") == 1
    for message in ("--families", "'spherical'", "planar", "nsf_ar"):
        assert message in result.err
    assert not Path("gallery.html").exists()


def test_existing_page_is_not_overwritten(command):
    Path("gallery.html").write_text("mine")
    result = command("gallery", "--families", "planar", "--quick")
    assert result.code == 1
    assert "--overwrite" in result.err
    assert Path("gallery.html").read_text() == "mine"
