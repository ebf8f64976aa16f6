"""What comes in: only requests to this machine, from no web page, signed with keys that the laptop cloud gave out."""
