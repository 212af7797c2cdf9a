"""Every byte that crosses the boundary, sans-I/O: no socket, clock, operating system or logging."""
