"""`legan evaluate`: models of face editing side by side, on one data set, by every metric."""
