"""The report as text and as Markdown."""

import dataclasses
import re

import pytest

from tf_genbounds.report.tables import notes
from tf_genbounds.report.tables import tables
from tf_genbounds.report.wording import STATEMENT


def words(text):
    return " ".join(text.split())


@pytest.mark.parametrize("kind", ["single", "compared", "bare"])
def test_text_has_every_table_legend_and_note(kind, request):
    report = request.getfixturevalue(kind)
    text = words(report.to_text(200))
    assert STATEMENT in text and report.title in text
    for table in tables(report):
        assert table.title in text
        for row in table.rows:
            assert " ".join(words(cell) for cell in row if cell) in text
        for term, meaning in table.legend:
            assert f"{term}: {meaning}" in text
    for note in notes(report):
        assert note in text


@pytest.mark.parametrize("width", [60, 80, 120])
def test_text_keeps_to_the_width(compared, width):
    lines = compared.to_text(width).splitlines()
    assert max(map(len, lines)) <= width


def test_a_terminal_of_80_columns_is_enough(single):
    text = single.to_text(80)
    for word in ("Spectral", "(operator)", "Frobenius", "Contraction", "(maximum)"):
        assert f" {word} " in text
    assert ">=5.250" in text and "0.002000" in text


def test_text_has_no_control_characters(compared):
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", compared.to_text(80))


def test_names_are_not_read_as_markup(single):
    report = dataclasses.replace(single, title="[bold]net[/bold] :smile:")
    assert "[bold]net[/bold] :smile:" in report.to_text(80)
    assert "\\[bold\\]net" in report.to_markdown()


def test_markdown_tables_are_rectangular(compared):
    rows = [
        line for line in compared.to_markdown().splitlines() if line.startswith("|")
    ]
    assert len(rows) == sum(2 + len(t.rows) for t in tables(compared))
    columns = {len(re.findall(r"(?<!\\)\|", row)) - 1 for row in rows}
    assert columns == {len(table.headings) for table in tables(compared)}


def test_markdown_escapes_what_would_change_the_table(single):
    unsupported = {"a|b": "uses <b>*stars*</b>"}
    train = dataclasses.replace(single.train, unsupported=unsupported)
    text = dataclasses.replace(single, train=train).to_markdown()
    assert r"| a\|b | uses \<b\>\*stars\*\</b\> |" in text
