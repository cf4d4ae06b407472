"""The labelling service: its state is a replay of `labels.<project>`, and every change is an event of that topic."""
