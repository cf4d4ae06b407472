"""From people's answers to labels: consensus, who can be trusted how far, and what to ask next. No input or output."""
