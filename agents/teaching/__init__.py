"""Teachers: policies that are no chain of ours, which play and teach. Read `graph`: any network of known layers, in NumPy."""
