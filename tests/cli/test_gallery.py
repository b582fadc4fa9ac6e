"""The gallery: every recipe has its place, the page is whole and small, and what is wrong is a sentence."""

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
def drawn(tmp_path_factory):
    """A quick page of two families, one of them asked for by its recipe, and what the command printed."""
    import contextlib
    import io
    import json

    from pushforward.cli.app import run

    path, out = tmp_path_factory.mktemp("gallery") / "g.html", io.StringIO()
    with contextlib.redirect_stdout(out):
        code = run(["gallery", "-o", str(path), "--families", "planar_flow,linear", "--quick", "--json"])
    assert code == 0
    return path, json.loads(out.getvalue())


def test_every_recipe_belongs_to_one_card():
    named = [recipe for card in CARDS for recipe in card.recipes]
    assert sorted(named) == sorted(RECIPES), "a recipe without a card, in two cards, or a card of no recipe"
    assert len(BY_NAME) == len(CARDS)


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_a_card_is_whole(card):
    assert card.depths == tuple(sorted(set(card.depths)))
    assert card.n_layers in card.depths
    assert (card.note != "") == ((card.depths, card.n_layers, card.most_dim) != ((1, 2, 10, 32), 10, 128))
    for text in (card.title, card.formula, card.jacobian, card.use, card.density_cost, card.sample_cost):
        assert text
    assert re.sub(r"<(\w+)>", "", card.formula).count("</") == len(re.findall(r"<\w+>", card.formula))
    for text in (card.jacobian, card.use, card.density_cost, card.sample_cost):
        assert text.endswith(".")


def test_the_page_holds_the_cards_and_needs_nothing_else(drawn):
    path, result = drawn
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
    assert len({attributes["src"] for attributes in pictures}) > 20  # hardly trained, two families may look alike


def test_the_numbers_printed_are_those_of_the_page(drawn):
    path, result = drawn
    words = Page(path.read_text(encoding="utf-8")).text
    assert list(result["families"]) == list(FAMILIES)
    for family in result["families"].values():
        assert set(family["nats"]) == set(TOY_NAMES)
        for shape, nats in family["nats"].items():
            assert nats < result["true_log_likelihood"][shape]
            assert f"{nats:.2f}".replace("-", "\N{MINUS SIGN}") in words
        for line in family["seconds_a_row"].values():
            assert len(line) == len(family["dims"])
            assert min(line) > 0


def test_a_wrong_family_is_a_sentence(command):
    said = command("gallery", "--families", "planar,spherical")
    assert said.code == 2
    assert said.err.count("\n") == 1
    for words in ("--families", "'spherical'", "planar", "nsf_ar"):
        assert words in said.err
    assert not Path("gallery.html").exists()


def test_an_existing_page_is_kept(command):
    Path("gallery.html").write_text("mine")
    said = command("gallery", "--families", "planar", "--quick")
    assert said.code == 1
    assert "--overwrite" in said.err
    assert Path("gallery.html").read_text() == "mine"
