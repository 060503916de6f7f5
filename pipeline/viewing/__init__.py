"""Policies played for people to watch.

Read `play` (a window or a film), `film` (GIF and MP4), `side_by_side` (the report's), `serving` (the page for browsers).
"""
