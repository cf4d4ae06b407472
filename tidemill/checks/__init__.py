"""Conformance suites as code: what every job, engine, log and learner must satisfy."""
