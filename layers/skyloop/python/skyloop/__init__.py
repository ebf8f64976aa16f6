"""Skyloop's domain and its thin AWS edge, shared by every function and by the tools."""
