"""Tables of the pages in docs/."""

from collections.abc import Iterable, Sequence


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    head, *body = (f"| {' | '.join(cells)} |\n" for cells in (columns, *rows))
    return "".join((head, "|" + "---|" * len(columns) + "\n", *body))
