"""Policies played for people to watch, and what else the report shows.

Read `play` (a window or a film), `film` (GIF and MP4), `side_by_side` (the report's), `file_details` (of each file, for the
report), `serving` (the page for browsers); `progress` (what a command says while it works).
"""
