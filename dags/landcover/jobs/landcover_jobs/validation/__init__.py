"""How good a map is: accuracy, areas with their uncertainty, independent points, the gate."""
