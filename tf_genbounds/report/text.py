"""A report as plain text and as Markdown."""

from tf_genbounds.report.guarantees import statement
from tf_genbounds.report.tables import notes
from tf_genbounds.report.tables import tables


def text(report, width=None):
    """Renders a report for a terminal; `width=None` asks the terminal."""
    # Rich is imported where it is used: most runs need no table.
    from rich.console import Console

    console = Console(
        width=width, color_system=None, markup=False, emoji=False, highlight=False
    )
    with console.capture() as capture:
        console.print(f"Generalization report: {report.title}\n")
        console.print(statement(report))
        for table in tables(report):
            console.print(f"\n{table.title}")
            console.print(rich_table(table))
            for term, meaning in table.legend:
                console.print(f"{term}: {meaning}")
        found = notes(report)
        if found:
            console.print("\nNotes")
        for note in found:
            console.print(f"- {note}")
    return capture.get()


def rich_table(table):
    """Builds the `rich` table of a `Table`: names left, numbers right."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    result = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for i, heading in enumerate(table.headings):
        justify = "left" if i < table.num_labels else "right"
        # `Text`, so that a name with brackets is not read as markup.
        result.add_column(Text(heading), justify=justify, overflow="fold")
    for row in table.rows:
        result.add_row(*(Text(cell) for cell in row))
    return result


def markdown(report):
    """Renders a report as Markdown."""
    title = _escaped(report.title)
    blocks = [f"# Generalization report: {title}", statement(report)]
    for table in tables(report):
        blocks += [f"## {table.title}", _markdown_table(table)]
        if table.legend:
            blocks.append(
                "\n".join(
                    f"- *{_escaped(term)}*: {_escaped(meaning)}"
                    for term, meaning in table.legend
                )
            )
    found = notes(report)
    if found:
        blocks.append("## Notes")
        blocks.append("\n".join(f"- {_escaped(note)}" for note in found))
    return "\n\n".join(blocks) + "\n"


def _markdown_table(table):
    align = [
        ":--" if i < table.num_labels else "--:" for i in range(len(table.headings))
    ]
    rows = [table.headings, align, *table.rows]
    return "\n".join(
        "| " + " | ".join(_escaped(cell) for cell in row) + " |" for row in rows
    )


def _escaped(cell):
    for character in "\\|*_`<>#[]":
        cell = cell.replace(character, f"\\{character}")
    return cell
