"""What talks to AWS: thin edges around clients that are handed in."""
