"""The ground of the house: names, errors, small formats and places. It knows nothing of ours."""
