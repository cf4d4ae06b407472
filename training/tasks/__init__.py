"""What can be learned: kinds of tasks, each a frozen dataclass of plain data (`training.task.Task`)."""
