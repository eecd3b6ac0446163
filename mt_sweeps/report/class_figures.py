"""The figure of a confusion matrix."""

from collections.abc import Sequence

import numpy as np

from mt_sweeps.report.plotting import BEST, WIDE, Plot, escape, number, rectangle, shortened, text_width, written
from trainers.confusion import Confusion

MOST_CLASSES = 24  # of a matrix that can be read
_MOST_COUNTED = 12  # classes whose cells are large enough for a number


def confusion(matrix: Confusion, classes: Sequence[str]) -> Plot:
    """Plot how many images of each class (row) were classified as each class (column).

    Args:
        matrix: of the classes.
        classes: their names.
    """
    names = [shortened(name) for name in classes]
    shares = matrix.counts / np.maximum(matrix.images, 1)[:, None]
    room = 8 + text_width(max(names, key=len))
    cell = min(46.0, (WIDE - room - 8) / len(names))
    small = " small" if cell < 13 else ""
    top = 30 + 0.8 * room
    parts = [written(2, 12, "class", "title"), written(room + cell * len(names), 12, "classified as", "title", "end")]
    for i, name in enumerate(names):
        x, y = number(room + cell * (i + 0.5) + 3), number(top - 5)
        turned = f'transform="rotate(-55 {x} {y})"'
        parts.append(f'<text class="tick{small}" x="{x}" y="{y}" {turned}>{escape(name)}</text>')
        parts.append(written(room - 5, top + cell * (i + 0.5) + 4, name, f"tick{small}", "end"))
        for j in range(len(names)):
            left, up = room + cell * j, top + cell * i
            parts.append(rectangle(left, up, cell - 1, cell - 1, BEST, float(shares[i, j]) if shares[i, j] else 0.0))
            if len(names) <= _MOST_COUNTED and matrix.counts[i, j]:
                style = "count over" if shares[i, j] > 0.55 else "count"
                x_of, y_of = left + cell / 2 - 0.5, up + cell / 2 + 3.5
                parts.append(written(x_of, y_of, str(matrix.counts[i, j]), style, "middle"))
    return Plot(WIDE, int(top + cell * len(names) + 6), "".join(parts))
