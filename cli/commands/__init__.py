"""The commands, by subject; cli.main puts them together."""
