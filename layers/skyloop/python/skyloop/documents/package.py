"""What Skyloop keeps with a model package version, beside what SageMaker knows of it."""

from __future__ import annotations

from skyloop.documents.base import Document


class PackageMetadata(Document):
    """A model package's CustomerMetadataProperties, as retrain writes them.

    SageMaker keeps text alone. A field is "" where the package has none: it may have been registered by hand.
    """

    correlation_id: str = ""
    dataset_id: str = ""
    dataset_uri: str = ""
    test_set_id: str = ""
    training_job: str = ""
    base_model: str = ""
    map50: str = ""
    decision_uri: str = ""
    baseline_uri: str = ""
    golden_predictions_uri: str = ""
    model_sha256: str = ""
    golden_predictions_sha256: str = ""
    engine: str = ""

    @property
    def score(self) -> float | None:
        """The candidate's mAP50 on the frozen test set, 0 to 1; None when it is not known."""
        return float(self.map50) if self.map50 else None
