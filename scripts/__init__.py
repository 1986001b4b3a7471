"""The command line: one file a command, arguments in, files out, no mathematics."""
