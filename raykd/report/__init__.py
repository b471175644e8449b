"""Shows stored results in the terminal and as one HTML page, without torch or Ray."""
