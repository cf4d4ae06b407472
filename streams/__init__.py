"""Jobs over events: operators, learners, metrics, and the engines that run jobs."""
