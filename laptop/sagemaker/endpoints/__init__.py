"""Models, endpoint configs and endpoints: server processes, the traffic to them, and how they are replaced."""
