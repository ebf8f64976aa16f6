"""What the rooms of the SageMaker share: records, errors, validation, events, tags, roles, logs, S3 and images."""
