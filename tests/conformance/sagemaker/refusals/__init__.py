"""Requests that SageMaker refuses, with AWS's code and words: the table that test_refusals.py goes through.

Each is a good request with one thing made wrong.
"""

from __future__ import annotations

from tests.conformance.sagemaker.refusals.labeling import LABELING
from tests.conformance.sagemaker.refusals.others import OF_UNKNOWN
from tests.conformance.sagemaker.refusals.processing import PROCESSING
from tests.conformance.sagemaker.refusals.registry import REGISTRY
from tests.conformance.sagemaker.refusals.training import TRAINING

CASES = [*TRAINING, *PROCESSING, *LABELING, *REGISTRY, *OF_UNKNOWN]
