"""The words of a study's page."""

from typing import Any

import pandas as pd

from lensmetrics.tables.columns import parse_column
from lensmetrics.tables.labels import column_title, condition_text


def title(metric: str) -> str:
    """Return the title of a metric on the page, which states k once."""
    return column_title(parse_column(metric), without=["k"])


def setting_text(name: str, value: Any) -> str:
    """Return the text of a setting in a table; a method without it has a dash."""
    return "–" if pd.isna(value) else condition_text(name, value)
