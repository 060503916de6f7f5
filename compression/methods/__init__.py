"""What the stages of a recipe do, one file per method."""
