"""What each kind of device needs beside a policy file: `board/` (Linux), `microcontroller/` (C, C++), `browser/` (a page)."""
