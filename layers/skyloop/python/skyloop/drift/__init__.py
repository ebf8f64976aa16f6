"""Step 8: have the images moved away from what the model was judged on?"""
