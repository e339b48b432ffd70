"""The command line: parse, call one function of a room, print. Rooms are imported when a command runs, not before."""
