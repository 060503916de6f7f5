"""What a person reads.

Read `table` (the terminal's), `page` (`report.html` and `report.md`), `charts` and `learning_curve` (its plots as Vega-Lite),
`vega` (what draws them).
"""
