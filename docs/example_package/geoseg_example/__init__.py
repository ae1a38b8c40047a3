"""What another package may add to geoseg: a network, a loss, a metric and a training method."""
