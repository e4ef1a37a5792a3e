"""Matrices as LaTeX writes them: how one is found, and its rows of cells."""

import re

_FACTOR = r"(?:[-+*/\d.(){}^π ]|\\frac|\\sqrt)*?"
MATRIX = re.compile(
    rf"^({_FACTOR})[(\[]?\\begin\s*\{{([pbBv]?)(?:(?:small)?matrix|array)\}}(?:\{{[lcr|]*\}})?(.*)"
    r"\\end\s*\{\2(?:(?:small)?matrix|array)\}[)\]]?$",
    re.DOTALL,
)
"""A number that multiplies the matrix, the kind of its brackets, and what stands in them."""
_END_OF_ROW = re.compile(r"\\\\(?:\s*\[\s*-?[\d.]+\s*(?:pt|ex|em|mm|cm|in)\s*\])?|\\cr(?![A-Za-z])")
"""A row may end with the space below it: \\\\[2pt]."""


def cells(match: re.Match[str]) -> list[list[str]]:
    """The rows of what MATRIX has found, in which each cell is multiplied with what stands before the matrix."""
    factor = match[1].strip().removesuffix("*").strip()
    rows = [row.split("&") for row in _END_OF_ROW.split(match[3]) if row.strip()]
    if not factor:
        return rows
    number = factor + "1" if factor in "+-" else factor
    return [[f"({number})({cell.strip()})" for cell in row] for row in rows]
