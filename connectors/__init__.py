"""How bytes get in and out: Kafka, Redis, files, datasets (each a replayable log), the artefact store."""
