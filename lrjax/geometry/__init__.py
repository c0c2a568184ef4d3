"""Points, heatmaps and warps: pure functions that know no model."""
