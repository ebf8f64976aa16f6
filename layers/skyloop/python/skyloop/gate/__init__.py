"""Step 5: may the candidate replace the champion?"""
