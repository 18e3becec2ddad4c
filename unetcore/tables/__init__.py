"""Result tables: measured and printed numbers, side by side but never mixed.

A table is a list of `Row`, one per number. It is written as tidy CSV for programs, as Markdown for
people and as HTML for the report. The readable forms have one block for every set of images that
numbers were measured on, so that a number from held-out training slices never stands in a column
with one from the secret test slices of a challenge.

Imports of the modules go one way: grouping, records | changes, measurements | rows | printed,
layout | text, page | publish. The notes stand alone.
"""

from unetcore.tables.changes import describe_change
from unetcore.tables.layout import PROVENANCE_HEADING, Block, blocks
from unetcore.tables.measurements import (
    MEASURES,
    Measure,
    Measurement,
    describe_network,
    describe_provenance,
    read_measurement,
)
from unetcore.tables.notes import label_notes
from unetcore.tables.page import html_list_page, html_page
from unetcore.tables.printed import Printed, nothing_printed, read_printed
from unetcore.tables.publish import (
    README_BEGIN,
    README_END,
    cost_table,
    read_trainings,
    readme_section,
    replace_results,
    training_of,
    write_scores,
    write_trainings,
)
from unetcore.tables.rows import COLUMNS, PRINTED, Row, merge, summarise, write_csv
from unetcore.tables.text import markdown, markdown_table, mean_and_spread

__all__ = [
    "COLUMNS",
    "MEASURES",
    "PRINTED",
    "PROVENANCE_HEADING",
    "README_BEGIN",
    "README_END",
    "Block",
    "Measure",
    "Measurement",
    "Printed",
    "Row",
    "blocks",
    "cost_table",
    "describe_change",
    "describe_network",
    "describe_provenance",
    "html_list_page",
    "html_page",
    "label_notes",
    "markdown",
    "markdown_table",
    "mean_and_spread",
    "merge",
    "nothing_printed",
    "read_measurement",
    "read_printed",
    "read_trainings",
    "readme_section",
    "replace_results",
    "summarise",
    "training_of",
    "write_csv",
    "write_scores",
    "write_trainings",
]
