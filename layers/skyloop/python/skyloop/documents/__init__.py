"""The documents that cross a border: payloads of functions, events, JSON in S3, items in DynamoDB, as typed models.

JSON is snake_case unless another service owns the shape (EventBridge, S3). What the container
writes and the domain has to check as a file, evaluation.json and baseline.json, is in `skyloop.formats`.
"""

from skyloop.documents.alert import Alert, Event, PublishAlertRequest, PublishAlertResponse, ServiceError, Severity
from skyloop.documents.base import Document, JsonObject, Request, Sha256, json_line, parse_json
from skyloop.documents.dataset import (
    SPLITS,
    AssembleRequest,
    AssembleResponse,
    ConvertRequest,
    ConvertResponse,
    DatasetDocument,
    Finding,
    LabelCounts,
    Split,
    SplitCounts,
)
from skyloop.documents.drift import (
    DriftReport,
    DriftState,
    EndpointState,
    Judgment,
    NoveltyEvidence,
    ScoredRequest,
    StatisticEvidence,
)
from skyloop.documents.gate import Decision, GateRequest, GateResponse, GateVerdict, Rule, Thresholds
from skyloop.documents.intake import (
    CatalogueItem,
    ImageFacts,
    ImagesCatalogued,
    ImageStatus,
    QuarantineRecord,
    kept_reason,
)
from skyloop.documents.labeling import (
    RequeueRequest,
    RequeueResponse,
    SelectIdle,
    SelectLabel,
    SelectRequest,
    SelectWait,
)
from skyloop.documents.package import PackageMetadata
from skyloop.documents.smoke import (
    Detection,
    EndpointResponse,
    GoldenPrediction,
    GoldenPredictions,
    SmokeRequest,
    SmokeResponse,
)
from skyloop.documents.sweep import SweepRequest, SweepResponse
from skyloop.documents.training import MAX_EPOCHS, WEIGHTS, RetrainRequest, TrainingOptions
from skyloop.documents.verification import Artifact, VerifyRequest, VerifyResponse

__all__ = [
    "MAX_EPOCHS",
    "SPLITS",
    "WEIGHTS",
    "Alert",
    "Artifact",
    "AssembleRequest",
    "AssembleResponse",
    "CatalogueItem",
    "ConvertRequest",
    "ConvertResponse",
    "DatasetDocument",
    "Decision",
    "Detection",
    "Document",
    "DriftReport",
    "DriftState",
    "EndpointResponse",
    "EndpointState",
    "Event",
    "Finding",
    "GateRequest",
    "GateResponse",
    "GateVerdict",
    "GoldenPrediction",
    "GoldenPredictions",
    "ImageFacts",
    "ImageStatus",
    "ImagesCatalogued",
    "JsonObject",
    "Judgment",
    "LabelCounts",
    "NoveltyEvidence",
    "PackageMetadata",
    "PublishAlertRequest",
    "PublishAlertResponse",
    "QuarantineRecord",
    "Request",
    "RequeueRequest",
    "RequeueResponse",
    "RetrainRequest",
    "Rule",
    "ScoredRequest",
    "SelectIdle",
    "SelectLabel",
    "SelectRequest",
    "SelectWait",
    "ServiceError",
    "Severity",
    "Sha256",
    "SmokeRequest",
    "SmokeResponse",
    "Split",
    "SplitCounts",
    "StatisticEvidence",
    "SweepRequest",
    "SweepResponse",
    "Thresholds",
    "TrainingOptions",
    "VerifyRequest",
    "VerifyResponse",
    "json_line",
    "kept_reason",
    "parse_json",
]
