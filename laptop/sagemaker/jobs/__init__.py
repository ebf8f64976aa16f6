"""Training and processing jobs: processes over a folder shaped like `/opt/ml`."""
