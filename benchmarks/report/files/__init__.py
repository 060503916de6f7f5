"""The style and the script of `report.html`, which `page` puts into it."""
