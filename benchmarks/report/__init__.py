"""What a person reads.

Read `table` (the terminal's), `summary`, `page` (`report.html` and `report.md`), `charts` and `learning_curve` (its plots),
filled into the Vega-Lite templates of `files/`, `sweep_page`, `templates` (what all pages share), `vega` (what draws plots).
"""
