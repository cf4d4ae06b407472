"""Learners: native block learners, and the adapter that runs any River estimator."""
