"""The page stands alone, and can be read by everyone."""

import dataclasses
import html.parser
import re

import pytest

from tf_genbounds.report.html import page
from tf_genbounds.report.wording import STATEMENT


class Tags(html.parser.HTMLParser):
    """Collects the tags of a page and checks that they are closed."""

    VOID = {"meta", "br", "img", "link", "input", "hr"}

    def __init__(self, text):
        super().__init__()
        self.tags, self.open = [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(params=["single", "compared", "bare"])
def text(request):
    return page(request.getfixturevalue(request.param))


def test_the_page_loads_nothing(text):
    for tag, attributes in Tags(text).tags:
        assert tag not in ("script", "link", "img", "iframe", "object", "image")
        for name in ("src", "srcset", "data", "xlink:href", "href"):
            value = attributes.get(name) or "#"
            # Links that the reader may follow, and parts of the page itself.
            assert value.startswith("#") or tag == "a", (tag, attributes)
    assert "@import" not in text
    assert all(url.startswith("#") for url in re.findall(r"url\(([^)]*)", text))


def test_every_id_is_used_once_and_every_reference_is_there(text):
    tags = Tags(text).tags
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    references = re.findall(r'(?:url\(|href=")#([^)"]+)', text)
    assert set(references) <= set(ids)


def test_every_plot_says_what_it_shows(text):
    figures = [a for tag, a in Tags(text).tags if tag == "figure"]
    assert len(figures) == text.count("<svg ")
    for attributes in figures:
        assert attributes["role"] == "img"
        assert re.search(r"\d", attributes["aria-label"])


def test_plots_take_the_colors_of_the_page(single):
    text = page(single)
    assert "currentColor" in text
    assert "prefers-color-scheme: dark" in text
    assert "#3c4043" not in text


def test_the_page_fits_a_phone(single):
    text = page(single)
    assert 'name="viewport"' in text and "overflow-x: auto" in text


def test_the_page_has_the_statement_tables_plots_and_notes(compared):
    text = page(compared)
    assert STATEMENT in text
    for heading in ("Summary", "Margins", "Layers", "Not measured", "Notes"):
        assert f"<h2>{heading}</h2>" in text
    # Two panels of margins, one of cushions, ranks and interlayer cushions, two
    # of noise, and three of curves.
    assert text.count("<svg ") == 10
    assert "&gt;=5.250" in text and "&lt;=1.306" in text


def test_names_cannot_put_tags_into_the_page(single):
    evil = '<script>alert("x")</script>'
    train = dataclasses.replace(
        single.train,
        unsupported={evil: evil},
        notes=(evil,),
        distributions={
            ("layer_cushion", evil): single.train.distribution("layer_cushion", "conv")
        },
        layers={evil: single.train.layers["conv"]},
    )
    text = page(dataclasses.replace(single, title=evil, train=train))
    assert "<script" not in text
    Tags(text)
