"""Points, heatmaps, transforms and crops: pure functions that know no network."""
