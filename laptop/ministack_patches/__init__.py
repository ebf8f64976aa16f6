"""Everything that reaches into MiniStack 1.5.33: the services it lacks and the behavior it gets wrong.

One module per subject; `installation` puts them all in place, `patching` says how a patch is written down. MiniStack
reads its settings from the environment when it is imported, and these modules import it: import them only once the
environment is ready (`laptop.server` sees to that).
"""
