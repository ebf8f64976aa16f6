"""What runs inside the Skyloop image: train, evaluate and serve a YOLO11 detector under SageMaker's container contract.

This folder is the only part of Skyloop that imports Ultralytics (AGPL-3.0); see ../README.md for what that means.
"""
