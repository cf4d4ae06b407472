"""Labelling as jobs: consensus of answers, what to label next, and labels that are doubtful."""
