"""Settings as one dictionary with dotted keys: `ema.decay` for `decay` in the group `ema`."""

from typing import Any

from mt_sweeps.search_space.space import Values


def dotted(nested: dict[str, Any], prefix: str = "") -> Values:
    """Return nested settings as one dictionary with dotted keys."""
    flat: Values = {}
    for key, value in nested.items():
        flat |= dotted(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat
