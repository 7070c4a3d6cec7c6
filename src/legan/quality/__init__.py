"""Q at work: scores, a loss and a metric, filtering by score, and the ratings that Q learns from."""
