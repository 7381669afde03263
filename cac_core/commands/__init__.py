"""The commands, by room: each file declares its commands to the parser and holds what they do.

A command is a function of the parsed arguments and of further options, and gives a record for --json and lines of text.
Nothing heavy is imported before it is needed.
"""
