"""The sweep: what no event told is found, and the alert of quarantined files is sent once."""
