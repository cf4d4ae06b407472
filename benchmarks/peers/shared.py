"""What both sides of a comparison are told: the features, and the learning rate."""

NAMES = ["hour", "distance", "temp", "wind", "rain", "carrier_rate", "route_rate", "queue"]
LR = 0.01
