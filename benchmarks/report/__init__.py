"""What a person reads.

Read `table` (the terminal's), `page` (`report.html` and `report.md`), `charts` and `learning_curve` (its plots, made of the
Vega-Lite templates in `files/`), `vega` (what draws them).
"""
