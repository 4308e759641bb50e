"""Room `contract`: the letters between operator and worker (order, report, exits); known to both, knows neither."""
