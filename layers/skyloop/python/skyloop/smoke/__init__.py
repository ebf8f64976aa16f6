"""Step 7: does a new endpoint answer as the model did when it was evaluated?"""
