"""`skyloop`: what a person types, against the laptop cloud or AWS. Start reading at cli.main."""
